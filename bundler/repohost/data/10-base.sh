# The far end of a conversation with a repo host: POSIX sh and GNU coreutils, nothing else. GNU tar and openssl make a
# push faster where they are.
#
#   bundle-repo ROOT [OWNER [GROUP [ROLE [TRUST [INBOX]]]]]
#   bundle-repo trust-init ROOT DIRECTORY DIGEST [TRUST]        by hand: the first trust document, by its digest
#
# ROLE: both, push (takes content, activates nothing) or admit (checks and activates, takes no content). A request is
# a line "VERB ARGUMENT…"; the reply is lines "=data", then "ok" or "no STATUS MESSAGE". Every request runs in a
# subshell of its own, so that a refusal ends nothing but the request.

set -u
LC_ALL=C
export LC_ALL
umask 022
nl='
'
tab='	'
blank=" $tab$nl"
IFS=$blank

first_trust= first_digest=
if [ "${1-}" = trust-init ]; then
    first_trust=${3:?} first_digest=${4:?}
    set -- "${2:?}" '' '' both "${5-}"
fi
root=${1:?}
owner=${2:-root}
group=${3:-root}
role=${4:-both}
home=$root/.bundles
trust_home=${5:-$home/trust}
inbox=${6:-$home/inbox}
verbs_push='hello blobs receive signed trust'
verbs_admit='hello distrust take_trust admit activate deactivate rollback prune prune_plan check vouch damaged restore'
verbs_admit="$verbs_admit restore_signed fetch fetch_signed receipt"
case $role in
    both) verbs="blobs receive signed trust $verbs_admit" ;;
    push) verbs=$verbs_push ;;
    admit) verbs=$verbs_admit ;;
    *) printf 'no 2 no such role: %s\n' "$role" && exit 2 ;;
esac
# Requests that change something hold a lock.
locked=' receive signed trust take_trust admit activate deactivate rollback prune restore restore_signed '
# Requests that bytes follow.
fed=' receive signed trust '

say() { printf '=%s\n' "$1"; }

# refuse STATUS MESSAGE: end the request; the whole conversation where bytes follow it, which are no request
# It is said when all is put away: whoever hears it may ask again at once.
refused=1
refuse() {
    leave
    printf 'no %s %s' "$1" "$2" | tr -c ' -~' '?' >&4
    printf '\n' >&4
    exit "$refused"
}

# What is only half made: it goes with the request.
half=
work=
# scratch: make $work, a private directory that goes with the request
scratch() { [ -n "$work" ] || work=$(mktemp -d) || refuse 63 "no room for temporary files"; }

# tables KIND ID: the rows of a release's signed tables of one kind, of all its targets
tables() {
    for table in "$home/releases/$2/signed/$1"-*; do
        cat -- "$table" || return 1
    done
}

# current_trust: the newest accepted document's directory into $trust, its number into $version
current_trust() {
    trust= version=0
    for candidate in "$trust_home"/[0-9][0-9][0-9][0-9]; do
        [ -f "$candidate/policy.txt" ] || continue
        trust=$candidate version=${candidate##*/}
    done
    while [ "$version" != "${version#0}" ] && [ "$version" != 0 ]; do version=${version#0}; done
}

# rows_now: read the active view's rows into $rows
rows_now() {
    rows=
    [ -L "$home/active" ] || return 0
    [ -f "$home/active/lines" ] || refuse 83 "$home/active/lines is missing: what is served here is unknown"
    while IFS= read -r row; do
        rows=$rows$row$nl
    done <"$home/active/lines"
}

# row_of LINE: its active and previous release in $rows into $active and $previous; "-" without any
row_of() {
    active=- previous=-
    case $nl$rows in *"$nl$1 "*) ;; *) return 0 ;; esac
    active=$nl$rows
    active=${active#*"$nl$1 "}
    active=${active%%"$nl"*}
    previous=${active#* }
    active=${active% *}
}

# ours NAME: whether <root>/NAME is our own link
ours() { [ -L "$root/$1" ] && [ "$(readlink -- "$root/$1")" = ".bundles/active/tree/$1" ]; }

lock_place() {
    if [ "$role" = push ]; then lock=$inbox/.lock; else lock=$home/lock; fi
}

# started PID: when that process began, in ticks since the boot, into $began; false without such a process
started() {
    began=
    IFS= read -r row 2>/dev/null <"/proc/$1/stat" || return 1
    # Field 22; the second one, in parentheses, is the only one that may hold anything.
    set -- ${row##*) }
    began=${20-}
    # What has died stays visible until its parent looks.
    case ${1-} in [ZX]*) return 1 ;; esac
}

# held: whether the process that the lock names, not this one, still runs; what another host holds is held. After a
# reboot its number belongs to another process, which began at another time.
held() {
    holder='somebody'
    said=$(readlink -- "$1/owner" 2>/dev/null) || return 1
    set -- $said
    holder="process ${2-} on ${1-} since ${3-}"
    [ "${1-}" = "$(uname -n)" ] || return 0
    [ "${2-}" != "$$" ] && started "${2-}" && [ "$began" = "${4-$began}" ]
}

our_words=
# take_lock: hold this host. The lock appears by a rename, complete; one whose process has died is moved away.
take_lock() {
    lock_place
    mkdir -p -- "${lock%/*}" && [ -w "${lock%/*}" ] || refuse 83 "${lock%/*} cannot be written"
    mine=${lock%/*}/.lock-$$
    rm -rf -- "$mine"
    # A link, because one needs no room: prune works on a full disk.
    started "$$" || :
    words="$(uname -n) $$ $(date +%s) $began"
    mkdir -- "$mine" && ln -s -- "$words" "$mine/owner" ||
        refuse 63 "no room for a lock in ${lock%/*}"
    tries=0
    until mv -T -- "$mine" "$lock" 2>/dev/null; do
        tries=$((tries + 1))
        if held "$lock" || [ "$tries" -gt 3 ]; then
            rm -rf -- "$mine"
            refuse 88 "$lock is held by $holder"
        fi
        mv -T -- "$lock" "$lock.stale-$$" 2>/dev/null || continue
        if held "$lock.stale-$$"; then mv -T -- "$lock.stale-$$" "$lock"; else rm -rf -- "$lock.stale-$$"; fi
    done
    our_words=$words
    # What runs left behind that were killed, on their way to the lock or with it.
    rm -rf -- "${lock%/*}"/.lock-*
    [ "$role" = push ] || rm -rf -- "$home"/releases/.partial-*
    for mine in "$lock".stale-*; do held "$mine" || rm -rf -- "$mine"; done
}

# leave: what every request does at its end
leave() {
    [ -z "$work" ] || rm -rf -- "$work"
    [ -z "$half" ] || rm -rf -- "$half"
    [ -z "$our_words" ] || [ "$(readlink -- "$lock/owner" 2>/dev/null)" != "$our_words" ] || rm -rf -- "$lock"
}

# answer VERB ARGUMENT…: run one request
answer() {
    trap leave EXIT
    trap 'exit 9' HUP INT PIPE TERM
    verb=$1
    shift
    case $fed in *" $verb "*) refused=9 ;; esac
    current_trust
    case $locked in *" $verb "*) take_lock ;; esac
    # A false answer would be none at all.
    "do_$verb" "$@" || exit 83
}

# plain TEXT: whether it is a name as bundles, lines and files of ours have it
plain() {
    case $1 in
        '' | [!A-Za-z0-9]* | *[!A-Za-z0-9._+~-]*) return 1 ;;
    esac
    [ ${#1} -le 200 ]
}

# regular PATH: whether it is a file, and no link to one
regular() { [ -f "$1" ] && [ ! -L "$1" ]; }

# number TEXT: whether it is a whole number that the shell can count with
number() {
    case $1 in
        '' | *[!0-9]* | 0?*) return 1 ;;
    esac
    [ ${#1} -le 16 ]
}

digest_like() {
    case $1 in
        *[!0-9a-f]*) return 1 ;;
    esac
    [ ${#1} -eq 64 ]
}

# Whom and what the other end distrusts beside what this host's trust says: it takes away and adds nothing.
less=
# converse: greet, then answer requests until stdin ends
converse() {
    exec 4>&1
    case $(tar --version 2>/dev/null) in
        *'GNU tar'*) printf 'bundle-repo 1 tar\n' ;;
        *) printf 'bundle-repo 1\n' ;;
    esac
    while IFS= read -r request; do
        set -f
        set -- $request
        set +f
        [ $# -gt 0 ] || continue
        case " $verbs " in
            *" $1 "*) ;;
            *)
                printf 'no 2 not a request of role %s: %s\n' "$role" "$1" | tr -c ' -~\n' '?'
                exit 9
                ;;
        esac
        # distrust signer:NAME|key:BASE64|bundle:SHA256…: for the rest of the conversation
        if [ "$1" = distrust ]; then
            shift
            less="$less $*"
            printf 'ok\n'
            continue
        fi
        (answer "$@")
        case $? in
            0) printf 'ok\n' ;;
            1) ;;
            9) exit 9 ;;
            *)
                printf 'no 83 %s ended unexpectedly\n' "$1"
                case $1 in receive | signed | trust) exit 9 ;; esac
                ;;
        esac
    done
}
