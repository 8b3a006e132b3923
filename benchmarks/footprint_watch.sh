# Sourced by what `footprint.py` becomes. Sampling is done from here, because a Python that watches would share its pages with the
# one that is watched, and the proportional sizes would be too small.

# tree PID: the process and everything below it
tree() {
    echo "$1"
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}

# look PID FILES: one line: seconds since boot, how many other processes map one of FILES (a path a line), and for each process of
# the tree its proportional kB and CPU ticks as KB:TICKS
look() {
    pids=$(tree "$1")
    line=$(cut -d ' ' -f 1 /proc/uptime)
    others=$(grep -lF -f "$2" /proc/[0-9]*/maps 2>/dev/null | cut -d / -f 3 | grep -cvxF "$pids")
    line="$line $others"
    for pid in $pids; do
        memory=$(awk '/^Pss:/ { print $2 }' /proc/"$pid"/smaps_rollup 2>/dev/null)
        # behind the name, which may hold spaces, user and system time are the 12th and 13th
        ticks=$(sed 's/.*) //' /proc/"$pid"/stat 2>/dev/null | awk '{ print $12 + $13 }')
        [ -n "$memory" ] && [ -n "$ticks" ] && line="$line $memory:$ticks"
    done
    echo "$line"
}

# watch FOLDER WARM_UP SECONDS EVERY FILES COMMAND...: run the command, leave it alone, then look at it again and again
watch() {
    folder=$1 warm_up=$2 seconds=$3 every=$4 files=$5
    shift 5
    "$@" >>"$folder/log" 2>&1 &
    watched=$!
    sleep "$warm_up"
    end=$(($(date +%s) + seconds))
    while [ "$(date +%s)" -le "$end" ]; do
        look "$watched" "$files" >>"$folder/looks"
        sleep "$every"
    done
    tree "$watched" | xargs kill -KILL
    wait "$watched" 2>/dev/null || true
}
