# Tries to read files and to list directories. Asked: {"files": [...], "directories": [...], "canary": "..."}, on one
# line, with plain paths.
asked=$(cat)
list() { sed -E "s/.*\"$1\":\[([^]]*)\].*/\1/; s/[\",]/ /g" <<<"$asked"; }
canary=$(sed -E 's/.*"canary":"([^"]*)".*/\1/' <<<"$asked")

errno() {
    case $1 in
        *'No such file'*) echo ENOENT ;;
        *'Permission denied'*) echo EACCES ;;
        *'Not a directory'*) echo ENOTDIR ;;
        *'Is a directory'*) echo EISDIR ;;
        *) echo EUNKNOWN ;;
    esac
}

separator=
printf '{"files":{'
for path in $(list files); do
    if content=$( (cat "$path" | tr -d '\0') 2>&1) && [[ -r $path ]]; then
        [[ $content == *"$canary"* ]] && found=true || found=false
        printf '%s"%s":{"canary":%s}' "$separator" "$path" "$found"
    else
        printf '%s"%s":{"errno":"%s"}' "$separator" "$path" "$(errno "$content")"
    fi
    separator=,
done
separator=
printf '},"directories":{'
for path in $(list directories); do
    if names=$(ls -A "$path" 2>&1); then
        quoted=$(sed 's/.*/"&"/' <<<"$names" | paste -sd,)
        [[ -z $names ]] && quoted=
        printf '%s"%s":{"names":[%s]}' "$separator" "$path" "$quoted"
    else
        printf '%s"%s":{"errno":"%s"}' "$separator" "$path" "$(errno "$names")"
    fi
    separator=,
done
printf '}}\n'
