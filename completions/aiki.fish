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
