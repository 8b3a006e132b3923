"""The sentences of the reports, written for this project. `{a|b}` gives a choice; a line is one family.

Every label has seven families in each language. The last two of each are held out, so no held-out sentence has a near copy
in the training data.
"""

from typing import Final

ENGLISH: Final[dict[str, str]] = {
    "water_leak": """
{Water is running|Water keeps coming} out of the pavement {near the bakery|at the corner of Mill Street|in front of number 14}.
The pipe {behind the barn|at the second pump|by the greenhouse} is dripping {since this morning|again|all night}.
There is a {big|growing|small} puddle by the hydrant and it {never dries|gets bigger every hour|was not there yesterday}.
Irrigation line {three|five|B} has burst, {half the row is under water|pressure is almost zero|mud everywhere}.
{Burst water main|Main has broken} on {Station Road|the high street|Harbour Lane}, the {street is flooded|cellar is filling up}.
{The trough valve does not close|A joint on the tank has come loose} and {water spills all day|we lose litres every minute}.
Our meter {turns|counts} even with every tap {closed|shut off}, {something must be leaking underground|we suspect a hidden leak}.
""",
    "pest": """
{Aphids|Whiteflies|Spider mites} all over the {tomatoes|beans|cucumbers} in {tunnel two|the east bed|the greenhouse}.
{Caterpillars|Beetles|Slugs} are eating the {cabbage|lettuce|potato leaves}, {please advise|we need to spray soon}.
I found {brown spots|white powder|small eggs} under the leaves of the {vines|apple trees|courgettes}.
{Locusts|Grasshoppers} came in from the {south|hills} and {stripped|damaged} {the barley|two rows of maize}.
{Rats|Mice} have been in the grain store {again|since last week}, {sacks are chewed|there are droppings everywhere}.
{Wasps are nesting|There is a hornet nest} in the {playground|park} tree, {children were stung|someone should remove it}.
The wheat shows {rust|yellow stripes|blight} and it is {spreading fast|worse than last week} in {field seven|the lower field}.
""",
    "livestock": """
{One cow|A heifer|The brown cow} is {limping|lying down and not eating|breathing heavily} in {the north pasture|stall six}.
{Three sheep|Two goats|Some lambs} got {out through the fence|onto the road} near {the mill|the river}.
{Milk yield|The yield of the herd} dropped {by a fifth|sharply} {this week|since Monday}, {several udders look swollen|maybe mastitis}.
A {ewe|goat|mare} is giving birth {early|tonight} and needs {the vet|help}.
{Hens|The chickens} have {stopped laying|lost feathers} and {six are dead|look weak} this morning.
The calf {has diarrhoea|has a fever|will not drink} since {yesterday|last night}, {please send the vet|what should I give it}.
{A bull is loose|Horses are loose} on {the county road|the cycle path}, the {gate was left open|fence is down}.
""",
    "road_damage": """
{Deep|Huge|Another} pothole on {Oak Avenue|the ring road|the bridge}, {a cyclist fell|my tyre is gone}.
The {asphalt|road surface} is {cracked|sinking} near {the school|the bus stop|the roundabout}.
{Paving stones|Tiles of the footpath} are {loose|broken|missing} in {Market Square|front of the library}.
The {field track|farm road} has been {washed out|rutted} by {the rain|heavy tractors}, {trucks cannot pass|we got stuck}.
A {manhole cover|drain grate} is {missing|broken} on {Park Lane|the crossing}, very dangerous for {cars|bikes}.
The {kerb|guard rail} was {hit by a lorry|bent} and {pieces lie on the lane|sticks out into traffic}.
{Road markings|Lines on the street} have {worn away|vanished} and the surface {is full of holes|crumbles} at {the junction|exit four}.
""",
    "waste": """
{Bins|The containers} in {Rose Street|our block|the courtyard} have not been emptied {for two weeks|since Friday}.
Somebody dumped {old tyres|a sofa|building rubble} {in the ditch|beside the forest road|behind the school}.
{Rubbish bags|Garbage} {torn open by dogs|lying} all over the {pavement|park}, {it smells terrible|please clean it}.
{Empty pesticide cans|Plastic film} left {along the canal|at the edge of the field}, {needs collecting|who takes this away}.
The {recycling|glass} container is {overflowing|full to the top} {again|since the weekend} at {the station|the market}.
Litter {everywhere|all around the benches} after the {festival|match}, {no one has swept|cups and paper in the fountain}.
There is {illegal dumping|a heap of trash} at the {river bank|lay-by}, {fridges and mattresses|mostly household waste}.
""",
    "lighting": """
{Street light|Lamp post} {number 42|by the chapel|at the crossing} is {out|broken|not working}.
The {whole street|path to the station|underpass} is {dark|pitch black} {at night|since the storm}, {we do not feel safe|lamps are off}.
A lamp {flickers|keeps blinking} {outside my window|at the bus stop} {all night long|every few seconds}.
The lights in the {barn|milking parlour|stable} {went off|do not switch on}, {fuse is fine|bulbs are new}.
Lanterns in {the park|Castle Street} {burn all day|stay on in full sunshine}, {what a waste of electricity|timer must be wrong}.
The pole of a street lamp {is leaning|was knocked over} and {wires hang out|the glass is smashed}.
{No illumination|Bulb is dead} above the {zebra crossing|stairs}, {drivers cannot see anyone|people stumble} after {sunset|nine}.
""",
    "other": """
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
آب از {کف خیابان|کنار پیاده‌رو|جلوی پلاک ۱۴} {بیرون می‌زند|جاری است|راه افتاده}.
لولهٔ {پشت انبار|کنار گلخانه|پمپ دوم} {از صبح|دوباره|از دیشب} چکه می‌کند.
کنار شیر آتش‌نشانی {گودال آب|حوضچه‌ای} درست شده و {هر ساعت بزرگ‌تر می‌شود|خشک نمی‌شود}.
نوار آبیاری ردیف {سوم|پنجم|آخر} پاره شده و {زمین غرق آب است|فشار آب افتاده}.
لولهٔ اصلی آب در {خیابان ایستگاه|میدان بزرگ|کوچهٔ بهار} ترکیده و {زیرزمین پر آب شده|خیابان را آب گرفته}.
شیر آبشخور {بسته نمی‌شود|خراب است} و {آب هدر می‌رود|تمام روز آب می‌ریزد}.
با اینکه همهٔ شیرها {بسته است|را بسته‌ایم} کنتور {می‌چرخد|می‌اندازد}، {حتماً نشتی داریم|شاید لوله زیر زمین نشت دارد}.
""",
    "pest": """
{شته|سفیدبالک|کنه} به {گوجه‌ها|لوبیاها|خیارها} در {گلخانه|تونل دوم|کرت شرقی} افتاده است.
{کرم‌ها|سوسک‌ها|حلزون‌ها} {کلم|کاهو|برگ سیب‌زمینی} را می‌خورند، {چه سمی بزنیم|لطفاً راهنمایی کنید}.
زیر برگ {انگورها|درختان سیب|کدوها} {لکهٔ قهوه‌ای|پودر سفید|تخم حشره} دیدم.
{ملخ‌ها|دستهٔ ملخ} از {جنوب|طرف تپه} آمدند و {جو|دو ردیف ذرت} را {نابود کردند|خوردند}.
{موش|موش صحرایی} {دوباره|از هفتهٔ پیش} به انبار گندم آمده و {کیسه‌ها را جویده|همه‌جا فضله ریخته}.
{زنبورها در درخت پارک لانه کرده‌اند|لانهٔ زنبور در زمین بازی است} و {بچه‌ها را نیش می‌زنند|خطرناک است}.
گندم {زنگ زرد گرفته|آفت زده است} و {سریع پخش می‌شود|از هفتهٔ پیش بدتر شده}، {مزرعهٔ هفت|زمین پایین}.
""",
    "livestock": """
{یکی از گاوها|گاو قهوه‌ای|یک تلیسه} {می‌لنگد|غذا نمی‌خورد|سخت نفس می‌کشد}، {چراگاه شمالی|جایگاه شش}.
{سه گوسفند|دو بز|چند بره} از {حصار بیرون رفته‌اند|آغل فرار کرده‌اند} و نزدیک {آسیاب|رودخانه} هستند.
شیر گله {این هفته|از دوشنبه} {کم شده|یک‌پنجم افت کرده} و {پستان چند گاو ورم دارد|شاید ورم پستان باشد}.
{میش|بز|مادیان} ما {زودتر از موعد|امشب} می‌زاید و {دامپزشک|کمک} لازم داریم.
مرغ‌ها {دیگر تخم نمی‌گذارند|پر می‌ریزند} و امروز {شش تا مرده|چند تا بی‌حال} بودند.
گوساله از {دیروز|دیشب} {اسهال دارد|تب دارد|شیر نمی‌خورد}، {دامپزشک بفرستید|چه دارویی بدهم}.
{یک گاو نر|چند اسب} در {جاده|مسیر دوچرخه} رها شده، {درِ آغل باز مانده|حصار افتاده}.
""",
    "road_damage": """
{چالهٔ عمیقی|چالهٔ بزرگی} در {خیابان بلوط|کمربندی|روی پل} هست، {دوچرخه‌سوار افتاد|لاستیکم ترکید}.
آسفالت {ترک خورده|نشست کرده} نزدیک {مدرسه|ایستگاه اتوبوس|میدان}.
سنگ‌فرش {پیاده‌رو|میدان بازار} {لق شده|شکسته|کنده شده}.
جادهٔ {مزرعه|خاکی روستا} را {باران شسته|تراکتورها خراب کرده‌اند} و {کامیون رد نمی‌شود|گیر کردیم}.
دریچهٔ {فاضلاب|منهول} در {خیابان پارک|تقاطع} {گم شده|شکسته} و برای {ماشین‌ها|موتورها} خطرناک است.
{جدول خیابان|گاردریل} بر اثر {برخورد کامیون|تصادف} {شکسته|کج شده} و در مسیر {افتاده|مانده} است.
خط‌کشی {خیابان|تقاطع} پاک شده و روی جاده {پر از دست‌انداز|پر از چاله} است، {خودروها آسیب می‌بینند|تعمیر کنید}.
""",
    "waste": """
سطل‌های زبالهٔ {خیابان گل|بلوک ما|حیاط} {دو هفته است|از جمعه} خالی نشده.
کسی {لاستیک کهنه|مبل قدیمی|نخالهٔ ساختمانی} {در جوی|کنار جادهٔ جنگل|پشت مدرسه} ریخته است.
کیسه‌های زباله را {سگ‌ها پاره کرده‌اند|رها کرده‌اند} و {پیاده‌رو|پارک} {بوی بدی می‌دهد|کثیف شده}.
{ظرف خالی سم|نایلون کشاورزی} {کنار کانال|لب زمین} مانده، {جمع‌آوری کنید|کجا تحویل بدهیم}.
مخزن {بازیافت|شیشه} در {ایستگاه|بازار} {لبریز|پر} شده و {آشغال‌ها بیرون ریخته|کسی نمی‌برد}.
بعد از {جشن|مسابقه} {همه‌جا آشغال است|دور نیمکت‌ها پر از کاغذ و لیوان است} و {کسی جارو نکرده|تمیز نشده}.
در {حاشیهٔ رودخانه|کنار جاده} {زباله می‌ریزند|کوه زباله درست شده}، {یخچال و تشک کهنه|بیشتر زبالهٔ خانگی}.
""",
    "lighting": """
چراغ خیابان {شمارهٔ ۴۲|کنار مسجد|سر چهارراه} {خاموش|خراب|سوخته} است.
{تمام کوچه|راه ایستگاه|زیرگذر} {شب‌ها|از بعد از طوفان} {تاریک است|چراغ ندارد} و {امن نیست|می‌ترسیم}.
چراغ {جلوی پنجرهٔ ما|ایستگاه اتوبوس} {تمام شب|هر چند ثانیه} {چشمک می‌زند|قطع و وصل می‌شود}.
چراغ‌های {طویله|سالن شیردوشی|انبار} {روشن نمی‌شود|ناگهان خاموش شد}، {فیوز سالم است|لامپ‌ها نو هستند}.
چراغ‌های {پارک|خیابان قلعه} {تمام روز|زیر آفتاب} روشن است، {برق هدر می‌رود|تایمر خراب است}.
تیر چراغ برق {کج شده|افتاده} و {سیم‌ها آویزان است|حباب آن شکسته}.
بالای {خط عابر|پله‌ها} {روشنایی نیست|لامپ سوخته} و {بعد از غروب|شب} {کسی دیده نمی‌شود|مردم زمین می‌خورند}.
""",
    "other": """
{شهرداری|کتابخانه|دفتر دهیاری} {این هفته|روزهای تعطیل} چه ساعتی باز است؟
از {کمک سریع|برخورد خوب|نیمکت جدید} {دیروز|ماه گذشته} سپاسگزارم.
{صدای موسیقی همسایه|سروصدای ساخت‌وساز|مهمانی واحد کناری} {بعد از نیمه‌شب|جمعه‌ها} {خیلی زیاد|غیرقابل تحمل} است.
می‌خواهم {یک قطعه زمین اجاره کنم|بذرکار امانت بگیرم|سالن را رزرو کنم} برای {بهار|فصل بعد}.
لطفاً {شمارهٔ تلفن من را عوض کنید|قبض را دوباره بفرستید|نشانی‌ام را اصلاح کنید}، {در سامانه|در فهرست}.
چطور {مجوز پارکینگ بگیرم|فرم یارانه را پر کنم|سگم را ثبت کنم}؟
{اتوبوس دیر آمد|خط نه نیامد}، {دوباره|این هفته سه بار}، {برنامهٔ جدید کی اعلام می‌شود|کسی خبر نداد}.
""",
}
