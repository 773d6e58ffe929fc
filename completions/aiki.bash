# What bash parts at `=`, `:` and `@` is one word to aiki: it is put together again, and of the answer that part is
# left out which bash does not replace.
_aiki_completion() {
    local line=${COMP_LINE:0:COMP_POINT} word blank i
    local -a words
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        blank=${line%%[![:space:]]*}
        line=${line#"$blank"}
        ((i == COMP_CWORD)) && word=$line
        if ((i == 0)) || [[ -n $blank ]]; then words+=("$word"); else words[${#words[@]} - 1]+=$word; fi
        line=${line#"$word"}
    done
    local current=${words[${#words[@]} - 1]}
    local kept=${current%"${current##*[$COMP_WORDBREAKS]}"}
    local kind=
    COMPREPLY=()
    while IFS= read -r word; do
        case $kind in
            '') kind=$word ;;
            words)
                word=${word#"$kept"}
                # bash inserts it as it is: what is more to it than a word is quoted.
                [[ $word == *[!A-Za-z0-9_.+@:=/,-]* ]] && printf -v word %q "$word"
                COMPREPLY+=("$word")
                ;;
        esac
    done < <("${1/#\~/$HOME}" __complete bash "${words[@]:1}" 2>/dev/null)
    case $kind in
        files*)
            current=${current#"${kind#files }"}
            kept=${current%"${current##*[$COMP_WORDBREAKS]}"}
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do COMPREPLY+=("${word#"$kept"}"); done < <(compgen -f -- "$current")
            ;;
        *)
            compopt -o nosort 2>/dev/null
            case ${COMPREPLY[0]-} in
                *= | *.) compopt -o nospace 2>/dev/null ;;
            esac
            ;;
    esac
    return 0
}

complete -F _aiki_completion aiki
