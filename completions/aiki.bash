_aiki_completion() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        [[ -n $word ]] && COMPREPLY+=("$word")
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _AIKI_COMPLETE=complete_bash "$1" 2>/dev/null)
    case ${COMPREPLY[0]-} in
        *= | *.) compopt -o nospace 2>/dev/null ;;
    esac
    return 0
}

complete -o default -F _aiki_completion aiki
