"""Own the scripts that shells source for TAB. What `aiki` prints they take as words: none of it is ever evaluated.

`aiki __complete SHELL WORD...` is asked with the words as the shell has parted them, none of them expanded; the last is
what stands before the cursor. It answers `files` on the first line, with what stands before the file's name, where the
shell is to offer its own; else `words`, and an offer a line: for bash the word alone, else the word, a tab, and what it
is. A word that ends with `=` or `.` is to be continued, so no space follows it.
"""

from __future__ import annotations

from typing import Final

BASH: Final = r"""
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
"""

ZSH: Final = r"""
#compdef aiki

_aiki() {
    local line word about
    local -a answer whole whole_shown open open_shown
    answer=("${(@f)$("${(Q)words[1]}" __complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ ${answer[1]} == files* ]]; then
        compset -P "${answer[1]#files }"
        _files
        return
    fi
    for line in "${(@)answer[2,-1]}"; do
        [[ -n $line ]] || continue
        word=${line%%$'\t'*}
        about=${line#"$word"}
        about=${word}${about:+  ${about#$'\t'}}
        if [[ $word == *[=.] ]]; then
            open+=("$word") open_shown+=("$about")
        else
            whole+=("$word") whole_shown+=("$about")
        fi
    done
    # compadd quotes what it inserts. In their order, one a line: what they are stands beside them.
    (( $#whole )) && compadd -V aiki -l -d whole_shown -- "${(@)whole}"
    (( $#open )) && compadd -V aiki -l -S '' -d open_shown -- "${(@)open}"
    (( $#whole || $#open ))
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
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (command $words[1] __complete fish $words[2..] "$current" 2>/dev/null)
    switch "$answer[1]"
        case 'files @'
            printf '@%s\n' (__fish_complete_path (string sub -s 2 -- "$current"))
        case 'files*'
            __fish_complete_path "$current"
        case words
            printf '%s\n' $answer[2..]
    end
end

complete --command aiki --no-files --keep-order --arguments '(__aiki_complete)'
"""
