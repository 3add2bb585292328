#!/bin/sh
# Check a bundle with nothing but ssh-keygen and coreutils or busybox.
#
#   verify.sh [-n THRESHOLD] [-r REVOKED] [-N NAMESPACE] [-p] ALLOWED_SIGNERS [DIR]
#   verify.sh --tree TREE -t TARGET … ALLOWED_SIGNERS [DIR]
#
#   -n THRESHOLD      how many different signers must have signed (default 1)
#   -r REVOKED        public keys, one per line, that no longer count
#   -N NAMESPACE      of the signatures (default bundle@offline; trust@offline for a trust document)
#   -p                only a part is there: listed files may be missing
#   --tree TREE       also: TREE holds, for every TARGET, each file and link that the signed tables in DIR list, with
#                     its content and mode, and nothing else; of the bundle, only the tables need be in DIR
#   ALLOWED_SIGNERS   who may sign: lines  NAME namespaces="bundle@offline" KEYTYPE KEY
#   DIR               the bundle (default: the directory of this script)
#
# Exit status:
#    0  signed by enough trusted signers; every file is there and is what was signed; nothing else is there
#    2  wrong options
#   60  SHA256SUMS is not well formed
#   61  a file is damaged
#   64  a file is missing
#   65  a file is there that is not listed
#   66  something is not a regular file: a link, a pipe, a directory
#   70  too few valid signatures of different trusted signers
#   90  a tool is missing
# bundle-install verify uses the same numbers. It checks more: that bundle.json holds together, that the environments
# were proved, and, on FIDO tokens, the touch.
#
# Private copies of the list and of the signatures are judged, so that nobody swaps them in between.

set -u
LC_ALL=C
export LC_ALL
umask 077
namespace=bundle@offline
nl='
'

refuse() { # STATUS MESSAGE
    printf 'verify.sh: refused: %s\n' "$2" | tr -cd ' -~\n' >&2
    exit "$1"
}

usage() {
    printf 'usage: verify.sh [-n THRESHOLD] [-r REVOKED] [--tree TREE -t TARGET] ALLOWED_SIGNERS [DIR]\n' >&2
    exit 2
}

threshold=1 revoked= partial= tree= targets=
while [ $# -gt 0 ]; do
    case $1 in
        -n | -r | -N | -t | --tree) [ $# -ge 2 ] || usage ;;
    esac
    case $1 in
        -n) threshold=$2 && shift ;;
        -r) revoked=$2 && shift ;;
        -N) namespace=$2 && shift ;;
        -p) partial=1 ;;
        -t) targets="$targets $2" && shift ;;
        --tree) tree=$2 partial=1 && shift ;;
        --) shift && break ;;
        -*) usage ;;
        *) break ;;
    esac
    shift
done
[ $# -ge 1 ] && [ $# -le 2 ] || usage
case $targets in *[!A-Za-z0-9._\ -]*) usage ;; esac
if [ -n "$tree" ]; then
    [ -n "$targets" ] && [ -d "$tree" ] || usage
    tree=$(cd -- "$tree" && pwd) || usage
fi
case $threshold in '' | 0* | *[!0-9]* | ????*) usage ;; esac
allowed=$1
directory=${2-$(dirname -- "$0")}
[ -f "$allowed" ] && [ -r "$allowed" ] || { printf 'verify.sh: cannot read %s\n' "$allowed" >&2; usage; }
[ -z "$revoked" ] || { [ -f "$revoked" ] && [ -r "$revoked" ]; } || { printf 'verify.sh: cannot read %s\n' "$revoked" >&2; usage; }
[ -d "$directory" ] || { printf 'verify.sh: %s is no directory\n' "$directory" >&2; usage; }
for tool in ssh-keygen sha256sum mktemp head wc cut sort tail tr stat comm readlink; do
    command -v "$tool" >/dev/null 2>&1 || refuse 90 "$tool is not installed"
done

private=$(mktemp -d) || exit 90
trap 'rm -rf -- "$private"' EXIT
trap 'exit 130' INT TERM HUP
cp -- "$allowed" "$private/allowed" || exit 2
[ -z "$revoked" ] || cp -- "$revoked" "$private/revoked" || exit 2
cd -- "$directory" || exit 2

regular() { [ -f "$1" ] && [ ! -L "$1" ]; }

# take NAME COPY LIMIT: copy at most LIMIT bytes of a regular file, once
take() {
    [ -e "$1" ] || [ -L "$1" ] || refuse 64 "$1 is missing"
    regular "$1" || refuse 66 "$1 is not a regular file"
    head -c $(($3 + 1)) -- "$1" >"$2" || refuse 61 "$1 cannot be read"
    [ "$(wc -c <"$2")" -le "$3" ] || refuse 60 "$1 is too large"
}

# plain FILE: no NUL bytes, which a shell does not see
plain() { [ "$(tr -d '\000' <"$1" | wc -c)" -eq "$(wc -c <"$1")" ]; }

# armoured FILE: exactly one signature; ssh-keygen itself lets bytes before, in and after it pass
armoured() {
    at=start
    while IFS= read -r line; do
        case $at:$line in
            start:'-----BEGIN SSH SIGNATURE-----') at=inside ;;
            inside:'-----END SSH SIGNATURE-----') at=end ;;
            start:* | end:* | inside: | inside:*[!A-Za-z0-9+/=]*) return 1 ;;
        esac
    done <"$1"
    [ "$at" = end ] && [ -z "$line" ] && plain "$1"
}

# 1. The list and the signatures.
take SHA256SUMS "$private/sums" 1048576

# 2. Signatures of different trusted signers. The name of a signature file proves nothing; the key does.
signers=$nl
count=0
files=0
for file in SHA256SUMS.*.sig; do
    [ -e "$file" ] || [ -L "$file" ] || continue
    files=$((files + 1))
    [ "$files" -le 32 ] || refuse 60 "more than 32 signatures"
    take "$file" "$private/sig" 8192
    armoured "$private/sig" || continue
    who=$(ssh-keygen -Y find-principals -f "$private/allowed" -s "$private/sig" 2>/dev/null) || continue
    case $who in '' | *[!a-z0-9-]* | ?????????????????????????????????*) continue ;; esac
    if [ -n "$revoked" ]; then
        ssh-keygen -Y verify -f "$private/allowed" -I "$who" -n "$namespace" -s "$private/sig" \
            -r "$private/revoked" <"$private/sums" >/dev/null 2>&1 || continue
    else
        ssh-keygen -Y verify -f "$private/allowed" -I "$who" -n "$namespace" -s "$private/sig" \
            <"$private/sums" >/dev/null 2>&1 || continue
    fi
    case $signers in *"$nl$who$nl"*) continue ;; esac
    signers=$signers$who$nl
    count=$((count + 1))
done
[ "$count" -ge "$threshold" ] || refuse 70 "$count of $threshold required signers signed SHA256SUMS ($files signatures)"

# 3. The list, strictly: 64 hexadecimal digits, two spaces, a plain name; sorted, none twice.
[ -s "$private/sums" ] || refuse 60 "SHA256SUMS is empty"
[ -z "$(tail -c 1 "$private/sums")" ] || refuse 60 "the last line of SHA256SUMS has no end"
plain "$private/sums" || refuse 60 "SHA256SUMS has NUL bytes"
while IFS= read -r line; do
    digest=${line%%  *}
    name=${line#*  }
    [ "$line" = "$digest  $name" ] && [ ${#digest} -eq 64 ] && [ ${#name} -le 200 ] ||
        refuse 60 "SHA256SUMS has a malformed line"
    case $digest in *[!0-9a-f]*) refuse 60 "SHA256SUMS has a malformed digest" ;; esac
    case $name in '' | *[!A-Za-z0-9._+-]* | [._+-]* | SHA256SUMS*) refuse 60 "SHA256SUMS has a malformed name" ;; esac
done <"$private/sums"
cut -c67- "$private/sums" >"$private/names"
sort -c -u "$private/names" 2>/dev/null || refuse 60 "SHA256SUMS is not sorted, or lists a name twice"

# 4. Every listed file, each a regular file; and nothing else.
while IFS= read -r line; do
    name=${line#*  }
    if [ ! -e "$name" ] && [ ! -L "$name" ]; then
        [ -n "$partial" ] || refuse 64 "$name is missing"
        continue
    fi
    regular "$name" || refuse 66 "$name is not a regular file"
    printf '%s\n' "$line" >&3
done <"$private/sums" 3>"$private/present"
for target in $targets; do
    for name in release.txt "blobs-$target.sha256" "files-$target.sha256" "assemble-$target.tsv"; do
        [ -e "$name" ] || refuse 64 "$name is missing"
    done
done
listed=$nl$(cat "$private/names")$nl
for name in * .[!.]* ..?*; do
    [ -e "$name" ] || [ -L "$name" ] || continue
    case $name in
        SHA256SUMS) continue ;;
        SHA256SUMS.*.sig)
            who=${name#SHA256SUMS.}
            who=${who%.sig}
            case $who in '' | *[!a-z0-9-]* | ?????????????????????????????????*) ;; *) continue ;; esac
            ;;
    esac
    case $listed in *"$nl$name$nl"*) ;; *) refuse 65 "$name is not listed in SHA256SUMS" ;; esac
done

# 5. Every byte.
hash() { # LIST WHAT: every listed file has its digest
    [ -s "$1" ] || return 0
    sha256sum -c "$1" >"$private/result" 2>&1 && return 0
    while IFS= read -r line; do
        case $line in *': OK') ;; *) printf '%s\n' "$line" ;; esac
    done <"$private/result" >&2
    refuse 61 "$2 are not what was signed"
}
hash "$private/present" files

# 6. The tree: every path of the tables, as they say, and no other.
entries() { # DIRECTORY PREFIX: everything below, one a line
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        [ -e "$entry" ] || [ -L "$entry" ] || continue
        if [ -d "$entry" ] && [ ! -L "$entry" ]; then
            entries "$entry" "$2${entry##*/}/"
        else
            printf '%s\n' "$2${entry##*/}"
        fi
    done
}

modes() { # PATH…: the mode of each
    [ $# -eq 0 ] || stat -c '%a %n' -- "$@" || refuse 61 "modes cannot be read"
}

if [ -n "$tree" ]; then
    for target in $targets; do
        cat -- "assemble-$target.tsv" >&3 && cat -- "files-$target.sha256" >&4 || refuse 61 "tables cannot be read"
    done 3>"$private/rows" 4>"$private/files"
    sort -u -o "$private/rows" "$private/rows" && sort -u -o "$private/files" "$private/files" || exit 90
    cd -- "$tree" || exit 2
    set -f
    set --
    while IFS='	' read -r kind path mode class content; do
        printf '%s\n' "$path" >&3
        if [ "$kind" = link ]; then
            [ -L "$path" ] || refuse 66 "$path is no link"
            [ "$(readlink -- "$path")" = "$content" ] || refuse 61 "$path leads elsewhere"
            continue
        fi
        [ -e "$path" ] || [ -L "$path" ] || refuse 64 "$path is missing"
        regular "$path" || refuse 66 "$path is not a regular file"
        printf '%s %s\n' "${mode#0}" "$path" >&4
        set -- "$@" "$path"
        if [ $# -ge 400 ]; then
            modes "$@" >&5
            set --
        fi
    done <"$private/rows" 3>"$private/paths" 4>"$private/modes" 5>"$private/found"
    modes "$@" >>"$private/found"
    set +f
    sort -o "$private/paths" "$private/paths" && entries . '' | sort >"$private/entries" || exit 90
    extra=$(comm -13 -- "$private/paths" "$private/entries" | head -n 1)
    [ -z "$extra" ] || refuse 65 "$extra is not in the signed tables"
    sort -o "$private/modes" "$private/modes" && sort -o "$private/found" "$private/found" || exit 90
    wrong=$(comm -13 -- "$private/modes" "$private/found" | head -n 1)
    [ -z "$wrong" ] || refuse 61 "mode and path $wrong: another mode was signed"
    hash "$private/files" "files of the tree"
fi

printf 'verify.sh: accepted: signed by'
printf '%s' "$signers" | while IFS= read -r who; do [ -z "$who" ] || printf ' %s' "$who"; done
[ "$count" -gt 1 ] || printf ' (single signer)'
[ "$files" -eq "$count" ] || printf ' (%s of %s signatures do not count)' $((files - count)) "$files"
printf '; SHA256SUMS is %s\n' "$(sha256sum <"$private/sums" | cut -c1-64)"
