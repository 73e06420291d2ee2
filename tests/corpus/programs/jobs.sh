# Job control, coprocesses, traps and named pipes.
set -u
set -m
sleep 600 &
sleeper=$!
(exit 3) &
wait $!
echo "waited $?"
jobs -r | sed 's/ *$//'
kill -STOP %1
until [[ "$(jobs -l %1)" == *Stopped* ]]; do sleep 0.01; done
echo stopped
bg %1 >/dev/null
# That it was terminated is told on stderr, sooner or later.
exec 9>&2 2>/dev/null
kill %1
wait "$sleeper"
echo "ended $?"
exec 2>&9 9>&-
# Stopped, it is still there when it is asked for.
(kill -STOP "$BASHPID"; exit 7) &
until [[ "$(jobs -l %%)" == *Stopped* ]]; do sleep 0.01; done
fg %% >/dev/null
echo "foreground $?"
# Not /proc/$$: where the host's /proc is shared, that is somebody else.
[[ "$(cut -d' ' -f5 /proc/self/stat)" -gt 0 ]] && echo group
set +m

coproc DOUBLE { while read -r n; do echo $((n * 2)); done; }
double_in=${DOUBLE[1]} double_out=${DOUBLE[0]} double=$DOUBLE_PID
echo 21 >&"$double_in"
read -r answer <&"$double_out"
echo "coproc $answer"
exec {double_in}>&-
wait "$double"
echo "coproc ended $?"

trap 'echo "usr1"' USR1
kill -USR1 $$
(trap 'echo "child term"; exit 9' TERM; kill -TERM $BASHPID; sleep 600)
echo "child $?"
trap 'echo "err line"' ERR
false
trap - ERR
trap 'echo "last"' EXIT

mkfifo /tmp/pipe
seq 1000 >/tmp/pipe &
awk '{ sum += $1 } END { print "fifo", sum }' /tmp/pipe
wait
children=()
for i in 1 2 3 4 5; do
    (sleep 0.01; exit "$i") &
    children+=($!)
done
total=0
for child in "${children[@]}"; do
    wait "$child"
    total=$((total + $?))
done
echo "total $total"
timeout 0.05 sleep 600
echo "timeout $?"
