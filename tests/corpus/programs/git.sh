# A repository from its first commit to a merge, a clone and a push.
set -euo pipefail
export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
git config --global user.name Corpus
git config --global user.email corpus@example.com
git config --global init.defaultBranch main
git init -q shop
cd shop
echo one >file
git add file
git commit -q -m 'shop: open'
git switch -q -c side
echo two >other
git add other
git commit -q -m 'shop: add the other'
git switch -q main
echo three >>file
git commit -q -a -m 'shop: go on'
git merge -q --no-edit side
git log --format='%s' --topo-order
git cat-file -p HEAD^1:file
git diff --stat HEAD~1 HEAD | tail -n 1
echo conflict >file
git stash -q
git stash pop -q
git checkout -q -- file
git status --porcelain | wc -l
cd ..
git clone -q shop copy
git clone -q --bare "file://$PWD/shop" bare.git
cd copy
git rev-list --count HEAD
git rev-parse HEAD^{tree}
echo four >>file
git commit -q -a -m 'copy: more'
git push -q "$PWD/../bare.git" main
git -C ../bare.git log -1 --format=%s main
git gc -q
git fsck --full --no-dangling --no-progress && echo sound
for i in $(seq 200); do echo "$i" >"f$i"; done
git add .
git commit -q -m 'copy: many'
git ls-files | wc -l
