# bash completion for heimdall, hpeer, hctl and heimdall-wg. Commands and options come from --help of the installed program; ids,
# names and networks from the node that hctl would use.

# Lines "OPTION PLACEHOLDER" of a program, a short form on a line of its own; no placeholder: the option takes no value.
_heimdall_options() {
    "$1" --help 2>/dev/null | sed -nE \
        -e 's/^ +(-[a-zA-Z]), (--[a-z0-9-]+)( [A-Z:]+)?( .*)?$/\1\3\n\2\3/p' -e t \
        -e 's/^ +(--[a-z0-9-]+)( [A-Z:]+)?( .*)?$/\1\2/p'
}

# Lines "GROUP NAME" of hctl's commands; a command of one word has no NAME.
_heimdall_commands() {
    "$1" --help 2>/dev/null | sed -nE '/^commands:/,/^$/s/^  ([a-z]+)( [a-z]+)? .*/\1\2/p'
}

# Ids, names or networks of the node: _heimdall_ask PROGRAM KIND OPTION...
_heimdall_ask() {
    local ask=(timeout 2 "$1" "${@:3}") ids='s/^\s*"(id|name)":\s*"([^"]+)",?$/\2/p'
    case $2 in
    peers) { "${ask[@]}" -o table peers authorized | tail -n +2; "${ask[@]}" -o json peers list | sed -nE "$ids"; } ;;
    nodes) "${ask[@]}" -o json nodes list | sed -nE "$ids" ;;
    routes) "${ask[@]}" -o table routes list | awk 'NR > 1 { print $2 }' ;;
    esac 2>/dev/null
}

# Sets the caller's arrays: `words`, the words of hctl's command before the completed one, and `given`, its options with their values.
# readline splits at "=" and ":".
_heimdall_read_line() {
    local options=$1 word take='' join=''
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word == = ]]; then
            take=yes
        elif [[ $word == :* || $join == yes ]] && ((${#given[@]} > 0)); then
            given[-1]+=$word
        elif [[ $take == yes ]]; then
            given+=("$word")
            take=''
        elif [[ $word == -* ]]; then
            given+=("$word")
            [[ $'\n'$options == *$'\n'"$word "* ]] && take=yes
        else
            words+=("$word")
        fi
        join=''
        [[ $word == *: ]] && join=yes
    done
    return 0
}

# The placeholder of an option's value. Empty: a flag, or no option.
_heimdall_placeholder() {
    local option placeholder
    while read -r option placeholder; do
        [[ $option == "$2" ]] && printf '%s' "$placeholder"
    done <<<"$1"
    return 0
}

# Choices for the next word of an hctl command, one a line.
_heimdall_next_word() {
    local program=$1
    case "${#words[@]} ${words[*]}" in
    0*) _heimdall_commands "$program" | cut -d ' ' -f 1 | sort -u ;;
    1*) _heimdall_commands "$program" | sed -n "s/^${words[0]} //p" ;;
    *' peers deauthorize'* | '2 peers show' | '2 peers rename' | '2 peers rekey')
        _heimdall_ask "$program" peers "${given[@]}" ;;
    '2 routes delete') _heimdall_ask "$program" routes "${given[@]}" ;;
    esac
}

_heimdall() {
    local program=$1 current=$2 previous=$3 options choices='' words=() given=()
    COMPREPLY=()
    options=$(_heimdall_options "$program")
    # readline splits "--option=value" into three words
    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    _heimdall_read_line "$options"
    case "$previous $(_heimdall_placeholder "$options" "$previous")" in
    *' FILE')
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return ;;
    *' DIR')
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return ;;
    '-o FORMAT' | '--output FORMAT') choices=$'table\njson' ;;
    '--log-format FORMAT') choices=$'text\njson' ;;
    '--node-id '*) choices=$(_heimdall_ask "$program" nodes "${given[@]:0:${#given[@]}-1}") ;;
    *' '[A-Z]*) return ;; # only the user knows this value
    *)
        if [[ $current == -* ]]; then
            choices=$(cut -d ' ' -f 1 <<<"$options")
        elif [[ ${program##*/} == hctl ]]; then
            choices=$(_heimdall_next_word "$program")
        fi ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}

complete -F _heimdall heimdall hpeer hctl heimdall-wg
