"""The sentences of the reports, written for this project. `{a|b}` gives a choice; a line is one family.

Every label has thirteen families in each language. The last three of each are held out, so no held-out sentence has a near copy
in the training data.
"""

from typing import Final

ENGLISH: Final[dict[str, str]] = {
    "water_leak": """
{There is a leak|We have a leak} in the {kitchen of the community hall|pump house|main line to the orchard}.
Water {leaks|seeps} from the {wall of the reservoir|valve box|garden tap} {day and night|since the frost}.
{A pipe|The water pipe} {cracked|burst} {under the road|in the cellar|in the shed}, {no pressure|everything is wet}.
The {sprinkler|drip line|hose} in {plot nine|the nursery} {loses water|is leaking badly}.
Our {water bill|consumption} has doubled, {could there be a leak|I think a pipe is broken underground}.
{The street|Our yard} is {under water|flooded}, {a main must have broken|it comes up through the drain}.
{Water is running|Water keeps coming} out of the pavement {near the bakery|at the corner of Mill Street|in front of number 14}.
The pipe {behind the barn|at the second pump|by the greenhouse} is dripping {since this morning|again|all night}.
There is a {big|growing|small} puddle by the hydrant and it {never dries|gets bigger every hour|was not there yesterday}.
Irrigation line {three|five|B} has burst, {half the row is under water|pressure is almost zero|mud everywhere}.
{Burst water main|Main has broken} on {Station Road|the high street|Harbour Lane}, the {street is flooded|cellar fills up}.
{The trough valve does not close|A joint on the tank has come loose} and {water spills all day|we lose litres every minute}.
Our meter {turns|counts} even with every tap {closed|shut off}, {something leaks underground|we suspect a hidden leak}.
""",
    "pest": """
{Insects|Bugs|Larvae} are {eating holes in|destroying} the {spinach|roses|rapeseed}.
The {leaves|fruits} of our {peach trees|peppers|olive trees} {curl and turn yellow|have a fungus}.
{Mildew|Leaf rust|Late blight} on the {grapes|wheat|potatoes}, {how do we treat it|spreading quickly}.
There are {rats|cockroaches|mosquitoes} in {our street|the school yard|the sewer}, {please send pest control|more every night}.
{Moths|Flies} in the {traps|orchard} {doubled this week|are above the limit}, {should we spray|pest pressure is high}.
{Bees swarmed|Wasps} under the {roof of the kiosk|bridge}, {people got stung|can you take the nest away}.
{Aphids|Whiteflies|Spider mites} all over the {tomatoes|beans|cucumbers} in {tunnel two|the east bed|the greenhouse}.
{Caterpillars|Beetles|Slugs} are eating the {cabbage|lettuce|potato leaves}, {please advise|we need to spray soon}.
I found {brown spots|white powder|small eggs} under the leaves of the {vines|apple trees|courgettes}.
{Locusts|Grasshoppers} came in from the {south|hills} and {stripped|damaged} {the barley|two rows of maize}.
{Rats|Mice} have been in the grain store {again|since last week}, {sacks are chewed|there are droppings everywhere}.
{Wasps are nesting|There is a hornet nest} in the {playground|park} tree, {children were stung|someone should remove it}.
The wheat shows {rust|yellow stripes|blight} and it is {spreading fast|worse than last week} in {field seven|the lower field}.
""",
    "livestock": """
The {herd|flock} {broke the fence|escaped} last night, {cattle on the road|we are still looking for eleven sheep}.
{A pig|A goat|The ram} is {sick|bleeding|coughing}, {we need a vet|no appetite and a high temperature}.
{The cow|Our mare} {calved|foaled} {this morning|too early}, the {calf|foal} is {weak|not standing}.
{Egg count|Feed intake} of the {hens|ducks} {is falling|fell again} {this week|in barn two}.
{Fever|Foot rot|Mastitis} in {two cows|the dairy herd|some sheep}, {treatment started|antibiotics needed}.
{A horse|A stray cow|A donkey} {stands|walks} on the {motorway|village road}, {the gate is open|someone may hit it}.
{One cow|A heifer|The brown cow} is {limping|lying down and not eating|breathing heavily} in {the north pasture|stall six}.
{Three sheep|Two goats|Some lambs} got {out through the fence|onto the road} near {the mill|the river}.
{Milk yield|The yield of the herd} dropped {by a fifth|sharply} {this week|since Monday}, {udders are swollen|maybe mastitis}.
A {ewe|goat|mare} is giving birth {early|tonight} and needs {the vet|help}.
{Hens|The chickens} have {stopped laying|lost feathers} and {six are dead|look weak} this morning.
The calf {has diarrhoea|has a fever|will not drink} since {yesterday|last night}, {please send the vet|what should I give it}.
{A bull is loose|Horses are loose} on {the county road|the cycle path}, the {gate was left open|fence is down}.
""",
    "road_damage": """
{The road|Our street} is {full of potholes|broken up} {since winter|after the roadworks}.
{There is a hole|The ground caved in} in the {bike lane|pavement|car park} {next to the church|at the hospital}.
{Cracks|Bumps} in the asphalt {make cars swerve|are getting wider} {on the hill|at kilometre twelve}.
The {bridge railing|traffic sign|crash barrier} {is bent|fell over} {after an accident|and blocks the lane}.
{Gravel|Landslide debris} on the {mountain road|track to the farm}, {the surface is gone|tractors slide}.
The {speed bump|drain cover|manhole} {sank|came loose} and {rattles|wrecks tyres}, {please repair|road crew needed}.
{Deep|Huge|Another} pothole on {Oak Avenue|the ring road|the bridge}, {a cyclist fell|my tyre is gone}.
The {asphalt|road surface} is {cracked|sinking} near {the school|the bus stop|the roundabout}.
{Paving stones|Tiles of the footpath} are {loose|broken|missing} in {Market Square|front of the library}.
The {field track|farm road} has been {washed out|rutted} by {the rain|heavy tractors}, {trucks cannot pass|we got stuck}.
A {manhole cover|drain grate} is {missing|broken} on {Park Lane|the crossing}, very dangerous for {cars|bikes}.
The {kerb|guard rail} was {hit by a lorry|bent} and {pieces lie on the lane|sticks out into traffic}.
{Road markings|Lines on the street} have {worn away|vanished} and it {is full of holes|crumbles} at {the junction|exit 4}.
""",
    "waste": """
The {bin|rubbish container|dumpster} {is full|overflows} {in front of our house|at the playground}.
{Nobody collected|They forgot} the {rubbish|garbage|paper bins} {on our street|this Tuesday}.
{Trash|Plastic bottles and cans} {lying around|scattered} {on the beach|in the meadow|by the lake}.
{A pile of|Bags of} {household waste|garden waste|rubble} {was dumped|is rotting} {at the corner|near the well}.
{An old fridge|A mattress|A broken sofa} {has been left|stands} on the {pavement|roadside}, {please pick it up|who removes it}.
{It stinks|Bad smell} from the {garbage|compost heap}, {flies everywhere|the bins need emptying}.
{Bins|The containers} in {Rose Street|our block|the courtyard} have not been emptied {for two weeks|since Friday}.
Somebody dumped {old tyres|a sofa|building rubble} {in the ditch|beside the forest road|behind the school}.
{Rubbish bags|Garbage} {torn open by dogs|lying} all over the {pavement|park}, {it smells terrible|please clean it}.
{Empty pesticide cans|Plastic film} left {along the canal|at the edge of the field}, {needs collecting|who takes this away}.
The {recycling|glass} container is {overflowing|full to the top} {again|since the weekend} at {the station|the market}.
Litter {everywhere|all around the benches} after the {festival|match}, {no one has swept|cups and paper in the fountain}.
There is {illegal dumping|a heap of trash} at the {river bank|lay-by}, {fridges and mattresses|mostly household waste}.
""",
    "lighting": """
The {lamp|light} {in our street|at the gate|over the stairs} {does not work|went out} {yesterday|last week}.
{It is completely dark|There is no light} {on the footpath|behind the market|in the tunnel} {in the evening|after sunset}.
{A bulb|Two lamps} {burnt out|need replacing} {at the tram stop|along the promenade|in the shed}.
The street lights {come on too late|go off at ten|are on during the day}, {please check the timer|wastes power}.
The {lamp post|light pole} {was hit by a car|is bent}, {cables are hanging|lamp is broken}.
{Flickering|Blinking} street light {in front of the school|near number 8} {keeps us awake|gives headaches}.
{Street light|Lamp post} {number 42|by the chapel|at the crossing} is {out|broken|not working}.
The {whole street|path to the station|underpass} is {dark|pitch black} {at night|since the storm}, {we feel unsafe|no lamps}.
A lamp {flickers|keeps blinking} {outside my window|at the bus stop} {all night long|every few seconds}.
The lights in the {barn|milking parlour|stable} {went off|do not switch on}, {fuse is fine|bulbs are new}.
Lanterns in {the park|Castle Street} {burn all day|stay on in full sunshine}, {what a waste of electricity|timer must be wrong}.
The pole of a street lamp {is leaning|was knocked over} and {wires hang out|the glass is smashed}.
{No illumination|Bulb is dead} above the {zebra crossing|stairs}, {drivers see nobody|people stumble} after {sunset|nine}.
""",
    "other": """
{What are the opening hours|Who is the contact} of the {swimming pool|citizens' office|museum}?
{I want to thank|Compliments to} the {team|gardeners|driver}, {great work|very kind}.
{My neighbour|The bar downstairs} {makes noise|plays loud music} {every night|till three}.
{How much|What} does {a permit|the fishing licence|a stall at the fair} cost {this year|for residents}?
I {moved|changed my name}, {which form do I need|please correct my data}.
{When does the bus|Does the train} {leave|run} {on Sunday|tomorrow}, {the timetable is missing|the app shows nothing}?
When {does the town office open|is the next market day|will the library close} {this week|on holidays}?
{Thank you|Many thanks} for the {quick help|new bench|friendly service} {yesterday|last month}.
The {neighbour's music|construction noise|party next door} is {too loud|unbearable} {after midnight|on Sundays}.
I would like to {rent a plot|borrow the seed drill|book the hall} for {May|next season}.
Please {change my phone number|send me the invoice again|update my address} in {the register|your list}.
How do I {apply for a parking permit|register a new dog|get the subsidy form}?
{The bus was late|Tram nine did not come} {again|three times this week}, {when is the new timetable|nobody told us}.
""",
}

PERSIAN: Final[dict[str, str]] = {
    "water_leak": """
{نشتی آب|نشت لوله} در {آشپزخانهٔ سالن|موتورخانه|خط اصلی باغ} داریم.
از {دیوار مخزن|شیر حیاط|حوضچهٔ شیر} {شب و روز|بعد از یخبندان} آب {نشت می‌کند|می‌چکد}.
لولهٔ آب {زیر خیابان|در زیرزمین|در طویله} {ترکید|شکست} و {فشار آب نداریم|همه‌جا خیس است}.
{آب‌پاش|شلنگ|لولهٔ قطره‌ای} {قطعهٔ نه|نهالستان} {سوراخ است|نشتی دارد}.
{قبض آب|مصرف آب} ما دو برابر شده، {شاید لوله نشتی دارد|فکر کنم لوله شکسته}.
{خیابان|حیاط} پر از آب شده، {لولهٔ اصلی شکسته|از چاه بالا می‌زند}.
آب از {کف خیابان|کنار پیاده‌رو|جلوی پلاک ۱۴} {بیرون می‌زند|جاری است|راه افتاده}.
لولهٔ {پشت انبار|کنار گلخانه|پمپ دوم} {از صبح|دوباره|از دیشب} چکه می‌کند.
کنار شیر آتش‌نشانی {گودال آب|حوضچه‌ای} درست شده و {هر ساعت بزرگ‌تر می‌شود|خشک نمی‌شود}.
نوار آبیاری ردیف {سوم|پنجم|آخر} پاره شده و {زمین غرق آب است|فشار آب افتاده}.
لولهٔ اصلی آب در {خیابان ایستگاه|میدان بزرگ|کوچهٔ بهار} ترکیده و {زیرزمین پر آب شده|خیابان را آب گرفته}.
شیر آبشخور {بسته نمی‌شود|خراب است} و {آب هدر می‌رود|تمام روز آب می‌ریزد}.
با اینکه همهٔ شیرها {بسته است|را بسته‌ایم} کنتور {می‌چرخد|می‌اندازد}، {حتماً نشتی داریم|شاید لوله زیر زمین نشت دارد}.
""",
    "pest": """
{حشرات|لاروها} {اسفناج|گل رز|کلزا} را {سوراخ کرده‌اند|نابود می‌کنند}.
برگ {درختان هلو|فلفل‌ها|زیتون‌ها} {زرد و پیچیده شده|قارچ زده}.
{سفیدک|زنگ برگ|بلایت} روی {انگور|گندم|سیب‌زمینی} دیده شد، {چطور درمان کنیم|زود پخش می‌شود}.
{موش|سوسک|پشه} در {کوچهٔ ما|حیاط مدرسه|فاضلاب} زیاد شده، {سم‌پاشی کنید|هر شب بیشتر می‌شود}.
{پروانهٔ آفت|مگس میوه} در {تله‌ها|باغ} {دو برابر شده|بیش از حد است}، {سم بزنیم؟|آفت زیاد است}.
زنبور زیر {سقف دکه|پل} جمع شده، {مردم را نیش زده|لانه را بردارید}.
{شته|سفیدبالک|کنه} به {گوجه‌ها|لوبیاها|خیارها} در {گلخانه|تونل دوم|کرت شرقی} افتاده است.
{کرم‌ها|سوسک‌ها|حلزون‌ها} {کلم|کاهو|برگ سیب‌زمینی} را می‌خورند، {چه سمی بزنیم|لطفاً راهنمایی کنید}.
زیر برگ {انگورها|درختان سیب|کدوها} {لکهٔ قهوه‌ای|پودر سفید|تخم حشره} دیدم.
{ملخ‌ها|دستهٔ ملخ} از {جنوب|طرف تپه} آمدند و {جو|دو ردیف ذرت} را {نابود کردند|خوردند}.
{موش|موش صحرایی} {دوباره|از هفتهٔ پیش} به انبار گندم آمده و {کیسه‌ها را جویده|همه‌جا فضله ریخته}.
{زنبورها در درخت پارک لانه کرده‌اند|لانهٔ زنبور در زمین بازی است} و {بچه‌ها را نیش می‌زنند|خطرناک است}.
گندم {زنگ زرد گرفته|آفت زده است} و {سریع پخش می‌شود|از هفتهٔ پیش بدتر شده}، {مزرعهٔ هفت|زمین پایین}.
""",
    "livestock": """
{گله|رمه} دیشب {حصار را شکست|فرار کرد}، {گاوها در جاده‌اند|دنبال یازده گوسفند می‌گردیم}.
{بز|قوچ|گاو} ما {مریض است|خونریزی دارد|سرفه می‌کند}، {دامپزشک لازم است|اشتها ندارد و تب دارد}.
{گاو|مادیان} {امروز صبح|زودتر} زایید و {گوساله|کره} {ضعیف است|بلند نمی‌شود}.
{تعداد تخم|خوراک} {مرغ‌ها|اردک‌ها} {کم شده|باز هم افت کرد}، {این هفته|سالن دو}.
{تب برفکی|لنگش|ورم پستان} در {دو گاو|گلهٔ شیری|چند گوسفند}، {درمان شروع شد|دارو لازم داریم}.
{یک اسب|گاو سرگردان|یک الاغ} در {اتوبان|جادهٔ ده} {ایستاده|راه می‌رود}، {در باز مانده|ممکن است تصادف شود}.
{یکی از گاوها|گاو قهوه‌ای|یک تلیسه} {می‌لنگد|غذا نمی‌خورد|سخت نفس می‌کشد}، {چراگاه شمالی|جایگاه شش}.
{سه گوسفند|دو بز|چند بره} از {حصار بیرون رفته‌اند|آغل فرار کرده‌اند} و نزدیک {آسیاب|رودخانه} هستند.
شیر گله {این هفته|از دوشنبه} {کم شده|یک‌پنجم افت کرده} و {پستان چند گاو ورم دارد|شاید ورم پستان باشد}.
{میش|بز|مادیان} ما {زودتر از موعد|امشب} می‌زاید و {دامپزشک|کمک} لازم داریم.
مرغ‌ها {دیگر تخم نمی‌گذارند|پر می‌ریزند} و امروز {شش تا مرده|چند تا بی‌حال} بودند.
گوساله از {دیروز|دیشب} {اسهال دارد|تب دارد|شیر نمی‌خورد}، {دامپزشک بفرستید|چه دارویی بدهم}.
{یک گاو نر|چند اسب} در {جاده|مسیر دوچرخه} رها شده، {درِ آغل باز مانده|حصار افتاده}.
""",
    "road_damage": """
{جاده|خیابان ما} {پر از چاله است|خراب شده}، {از زمستان|بعد از حفاری}.
در {مسیر دوچرخه|پیاده‌رو|پارکینگ} {کنار مسجد|جلوی بیمارستان} {گودال باز شده|زمین فرو رفته}.
{ترک‌های|دست‌انداز} آسفالت {در سربالایی|در کیلومتر دوازده} {بزرگ‌تر می‌شود|ماشین‌ها را منحرف می‌کند}.
{نردهٔ پل|تابلوی راهنمایی|گاردریل} {بعد از تصادف|دیروز} {کج شده|افتاده و راه را بسته}.
{شن|ریزش کوه} در {جادهٔ کوهستان|راه مزرعه}، {روکش جاده رفته|تراکتور سر می‌خورد}.
{سرعت‌گیر|دریچهٔ منهول} {نشست کرده|لق شده} و {صدا می‌دهد|لاستیک را پاره می‌کند}، تعمیر کنید.
{چالهٔ عمیقی|چالهٔ بزرگی} در {خیابان بلوط|کمربندی|روی پل} هست، {دوچرخه‌سوار افتاد|لاستیکم ترکید}.
آسفالت {ترک خورده|نشست کرده} نزدیک {مدرسه|ایستگاه اتوبوس|میدان}.
سنگ‌فرش {پیاده‌رو|میدان بازار} {لق شده|شکسته|کنده شده}.
جادهٔ {مزرعه|خاکی روستا} را {باران شسته|تراکتورها خراب کرده‌اند} و {کامیون رد نمی‌شود|گیر کردیم}.
دریچهٔ {فاضلاب|منهول} در {خیابان پارک|تقاطع} {گم شده|شکسته} و برای {ماشین‌ها|موتورها} خطرناک است.
{جدول خیابان|گاردریل} بر اثر {برخورد کامیون|تصادف} {شکسته|کج شده} و در مسیر {افتاده|مانده} است.
خط‌کشی {خیابان|تقاطع} پاک شده و روی جاده {پر از دست‌انداز|پر از چاله} است، {خودروها آسیب می‌بینند|تعمیر کنید}.
""",
    "waste": """
{سطل|مخزن زباله} {جلوی خانهٔ ما|زمین بازی} {پر است|سرریز شده}.
{زباله‌ها|آشغال‌های} کوچه را {این سه‌شنبه|چند روز است} {نبرده‌اند|جمع نکرده‌اند}.
{آشغال|بطری پلاستیکی و قوطی} {در ساحل|در چمن|کنار دریاچه} {ریخته|پخش است}.
{کیسه‌های|یک تل} {زبالهٔ خانگی|علف هرس‌شده|نخاله} {سر کوچه|نزدیک چاه} {رها شده|می‌گندد}.
{یخچال کهنه|تشک|مبل شکسته} را {در پیاده‌رو|کنار راه} گذاشته‌اند، {ببرید لطفاً|چه کسی می‌برد}.
بوی بد {زباله|تودهٔ کود} می‌آید، {مگس پر شده|سطل‌ها را خالی کنید}.
سطل‌های زبالهٔ {خیابان گل|بلوک ما|حیاط} {دو هفته است|از جمعه} خالی نشده.
کسی {لاستیک کهنه|مبل قدیمی|نخالهٔ ساختمانی} {در جوی|کنار جادهٔ جنگل|پشت مدرسه} ریخته است.
کیسه‌های زباله را {سگ‌ها پاره کرده‌اند|رها کرده‌اند} و {پیاده‌رو|پارک} {بوی بدی می‌دهد|کثیف شده}.
{ظرف خالی سم|نایلون کشاورزی} {کنار کانال|لب زمین} مانده، {جمع‌آوری کنید|کجا تحویل بدهیم}.
مخزن {بازیافت|شیشه} در {ایستگاه|بازار} {لبریز|پر} شده و {آشغال‌ها بیرون ریخته|کسی نمی‌برد}.
بعد از {جشن|مسابقه} {همه‌جا آشغال است|دور نیمکت‌ها پر از کاغذ و لیوان است} و {کسی جارو نکرده|تمیز نشده}.
در {حاشیهٔ رودخانه|کنار جاده} {زباله می‌ریزند|کوه زباله درست شده}، {یخچال و تشک کهنه|بیشتر زبالهٔ خانگی}.
""",
    "lighting": """
{چراغ|لامپ} {کوچهٔ ما|دم در|بالای پله} {کار نمی‌کند|خاموش شد}، {دیروز|هفتهٔ پیش}.
{پیاده‌رو|پشت بازار|تونل} {کاملاً تاریک است|هیچ چراغی ندارد}، {عصرها|بعد از غروب}.
{یک لامپ|دو چراغ} {ایستگاه تراموا|کنار ساحل|انبار} {سوخته|باید عوض شود}.
چراغ‌های خیابان {دیر روشن می‌شود|ساعت ده خاموش می‌شود|روزها روشن است}، {تایمر را ببینید|برق هدر می‌رود}.
{تیر چراغ|پایهٔ چراغ} {با ماشین تصادف کرده|خم شده}، {کابل آویزان است|چراغ شکسته}.
چراغ {جلوی مدرسه|نزدیک پلاک ۸} {چشمک می‌زند|سوسو می‌زند} و {نمی‌گذارد بخوابیم|چشم را اذیت می‌کند}.
چراغ خیابان {شمارهٔ ۴۲|کنار مسجد|سر چهارراه} {خاموش|خراب|سوخته} است.
{تمام کوچه|راه ایستگاه|زیرگذر} {شب‌ها|از بعد از طوفان} {تاریک است|چراغ ندارد} و {امن نیست|می‌ترسیم}.
چراغ {جلوی پنجرهٔ ما|ایستگاه اتوبوس} {تمام شب|هر چند ثانیه} {چشمک می‌زند|قطع و وصل می‌شود}.
چراغ‌های {طویله|سالن شیردوشی|انبار} {روشن نمی‌شود|ناگهان خاموش شد}، {فیوز سالم است|لامپ‌ها نو هستند}.
چراغ‌های {پارک|خیابان قلعه} {تمام روز|زیر آفتاب} روشن است، {برق هدر می‌رود|تایمر خراب است}.
تیر چراغ برق {کج شده|افتاده} و {سیم‌ها آویزان است|حباب آن شکسته}.
بالای {خط عابر|پله‌ها} {روشنایی نیست|لامپ سوخته} و {بعد از غروب|شب} {کسی دیده نمی‌شود|مردم زمین می‌خورند}.
""",
    "other": """
{ساعت کار|شمارهٔ تماس} {استخر|دفتر خدمات|موزه} چیست؟
از {همکاران|باغبان‌ها|راننده} {تشکر می‌کنم|ممنونم}، {کارشان عالی بود|خیلی مهربان بودند}.
{همسایه|کافهٔ پایین} {هر شب|تا سه صبح} {سروصدا می‌کند|موسیقی بلند می‌گذارد}.
هزینهٔ {مجوز|پروانهٔ ماهیگیری|غرفهٔ نمایشگاه} {امسال|برای ساکنان} چقدر است؟
{اسباب‌کشی کردم|نامم عوض شده}، {کدام فرم لازم است|مشخصاتم را اصلاح کنید}.
{اتوبوس|قطار} {یکشنبه|فردا} چه ساعتی {حرکت می‌کند|می‌رسد}؟ {برنامه نصب نشده|در سامانه نیست}.
{شهرداری|کتابخانه|دفتر دهیاری} {این هفته|روزهای تعطیل} چه ساعتی باز است؟
از {کمک سریع|برخورد خوب|نیمکت جدید} {دیروز|ماه گذشته} سپاسگزارم.
{صدای موسیقی همسایه|سروصدای ساخت‌وساز|مهمانی واحد کناری} {بعد از نیمه‌شب|جمعه‌ها} {خیلی زیاد|غیرقابل تحمل} است.
می‌خواهم {یک قطعه زمین اجاره کنم|بذرکار امانت بگیرم|سالن را رزرو کنم} برای {بهار|فصل بعد}.
لطفاً {شمارهٔ تلفن من را عوض کنید|قبض را دوباره بفرستید|نشانی‌ام را اصلاح کنید}، {در سامانه|در فهرست}.
چطور {مجوز پارکینگ بگیرم|فرم یارانه را پر کنم|سگم را ثبت کنم}؟
{اتوبوس دیر آمد|خط نه نیامد}، {دوباره|این هفته سه بار}، {برنامهٔ جدید کی اعلام می‌شود|کسی خبر نداد}.
""",
}
