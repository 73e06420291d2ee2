# Pipes, substitutions, here documents, descriptors, and the text tools of every day.
set -euo pipefail
export LC_ALL=C.UTF-8
printf '%s\n' pear apple fig apple | sort | uniq -c | sort -rn | awk '{ print $2 "=" $1 }' | paste -sd,
diff <(seq 3) <(seq 2 4) || true
seq 100 | tee >(awk '{ s += $1 } END { print s }' >sum) >/dev/null
until [[ -s sum ]]; do sleep 0.01; done
cat sum
cat <<-TEXT | tr a-z A-Z
	here $((6 * 7))
TEXT
cat <<'TEXT'
as $is
TEXT
read -r first rest <<<"one two three"
echo "$rest $first"
exec 7<>/tmp/both
echo "kept" >&7
cat /tmp/both
exec 7>&-
{ echo out; echo err >&2; } 2>&1 | sort
(yes 2>/dev/null || true) | head -n 100000 | wc -l
(false | true) || echo "pipefail ${PIPESTATUS[*]}"
declare -A ages=([b]=2 [a]=1)
for name in $(printf '%s\n' "${!ages[@]}" | sort); do echo "$name:${ages[$name]}"; done | paste -sd,
[[ "Größe 42" =~ ([0-9]+)$ ]] && echo "${BASH_REMATCH[1]} ${#BASH_REMATCH[0]}"

mkdir -p tree/{a,b}/deep
for i in $(seq 20); do echo "line $i" >"tree/a/$i.txt"; done
ln -s ../a/1.txt tree/b/link
find tree -name '*.txt' -newer /usr/bin/env -size -2 | wc -l
find tree -type l -printf '%f->%l\n'
find tree -name '1*.txt' -print0 | sort -z | xargs -0 -n 4 -P 4 cat | wc -l
sed -i 's/line \([0-9]*\)/\1 line/' tree/a/7.txt
cat tree/a/7.txt
grep -rlE '^1[0-2]? line|line (19|20)$' tree/a | sort
for kind in gz xz bz2; do
    command -v "$(case $kind in gz) echo gzip ;; xz) echo xz ;; bz2) echo bzip2 ;; esac)" >/dev/null || continue
    tar -caf "tree.tar.$kind" tree
    mkdir "out-$kind"
    tar -xaf "tree.tar.$kind" -C "out-$kind"
    diff -r tree "out-$kind/tree"
done
tar -tf tree.tar.xz | wc -l
head -c 3000000 /dev/zero | xz -T2 | xz -dc | gzip -9 | gunzip | sha256sum | cut -c1-16
perl -e 'my %h = map { $_ => $_ ** 2 } 1 .. 5; my $out = `echo shell`; print join(",", map { $h{$_} } sort keys %h), " $out"; exit(fork ? (wait, $? >> 8)[1] : 0)'
perl -MPOSIX -MSocket -e 'socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; syswrite $a, "pair\n"; print scalar <$b>'
echo '3 4' | awk '{ ("echo " $1 * $2) | getline x; print x }'
printf 'scale=2\n' | cat >/dev/null
stat -c '%s %a' <(true) >/dev/null
truncate -s 1M big && split -b 256K big part. && cat part.* | cmp - big && echo split
flock lock echo locked
mktemp -d | cut -c1-8
date -u -d @0 +%FT%TZ
TZ=Asia/Tokyo date -d @0 +%H
nproc >/dev/null && df /tmp >/dev/null && id -u
