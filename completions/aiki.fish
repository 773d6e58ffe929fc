function __aiki_complete
    set -lx _AIKI_COMPLETE complete_fish
    set -lx _TYPER_COMPLETE_FISH_ACTION $argv[1]
    set -lx _TYPER_COMPLETE_ARGS (commandline -cp)
    aiki 2>/dev/null
end

complete --command aiki --no-files --arguments '(__aiki_complete get-args)' --condition '__aiki_complete is-args'
