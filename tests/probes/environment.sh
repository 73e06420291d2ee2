# Prints its environment, as the kernel shows it and as programs that it starts get it.
quote() { sed 's/\\/\\\\/g; s/"/\\"/g; s/\x01/\\u0001/g'; }
environ=$(tr '\0' '\001' </proc/$$/environ | quote)
separator=
printf '{"environment":{'
while IFS= read -r -d '' entry; do
    printf '%s"%s":"%s"' "$separator" "${entry%%=*}" "$(quote <<<"${entry#*=}")"
    separator=,
done < <(env -0)
printf '},"environ":"%s"}\n' "$environ"
