"""Own the scripts that shells source for TAB. They take what `aiki` prints as words: nothing of it is evaluated.

`aiki` prints a suggestion a line: for bash the word alone, else the word, a tab, and what it is. A word that ends with
`=` or `.` is to be continued, so no space follows it.
"""

from __future__ import annotations

from typing import Final

BASH: Final = r"""
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
"""

ZSH: Final = r"""
#compdef aiki

_aiki() {
    local line word
    local -a whole open
    for line in "${(@f)$(_TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _TYPER_COMPLETE_FISH_ACTION=get-args \
            _AIKI_COMPLETE=complete_fish aiki 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        word=${line%%$'\t'*}
        # Before the colon is the word, behind it what it is.
        line="${word//:/\\:}:${${line#"$word"}#$'\t'}"
        if [[ $word == *[=.] ]]; then open+=("$line"); else whole+=("$line"); fi
    done
    if (( ! $#whole && ! $#open )); then
        _files
        return
    fi
    _describe -t words 'aiki' whole -- open -S ''
}

# Autoloaded as a function's body it is there to complete at once, sourced it only says who does.
if [[ ${funcstack[1]-} == _aiki ]]; then
    _aiki "$@"
else
    compdef _aiki aiki
fi
"""

FISH: Final = r"""
function __aiki_complete
    set -lx _AIKI_COMPLETE complete_fish
    set -lx _TYPER_COMPLETE_FISH_ACTION $argv[1]
    set -lx _TYPER_COMPLETE_ARGS (commandline -cp)
    aiki 2>/dev/null
end

complete --command aiki --no-files --arguments '(__aiki_complete get-args)' --condition '__aiki_complete is-args'
"""
