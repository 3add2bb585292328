# Whether what is there is what was signed, and mending it: check, vouch, damaged, restore, fetch, receipt.
#
# A listing has a row per entry of a tree: path, type and mode as ls says them, owner, group, where a link leads;
# columns separated by tabs. The one from the signed tables and the one from the disk are compared by comm.

# letters MODE: 0644 as ls writes it, into $mode
letters() {
    digits=${1#?}
    mode=
    while [ -n "$digits" ]; do
        case $digits in
            7*) mode=${mode}rwx ;;
            6*) mode=${mode}rw- ;;
            5*) mode=${mode}r-x ;;
            4*) mode=${mode}r-- ;;
            *) mode=${mode}--- ;;
        esac
        digits=${digits#?}
    done
}

unreadable() { refuse 83 "the signed tables of $1 cannot be read here"; }

# faults ID: what became of its signed part, rows "KIND NAME" into $faults. What the list says of the others counts
# only while it is the one that was admitted
faults() {
    signed=$home/releases/$1/signed
    faults= names='SHA256SUMS release.txt'
    while read -r word one; do
        case $word in
            digest) digest=$one ;;
            target) names="$names files-$one.sha256 blobs-$one.sha256 assemble-$one.tsv" ;;
        esac
    done <"$home/releases/$1/facts" || refuse 83 "the facts of $1 cannot be read"
    for name in $names; do
        regular "$signed/$name" || faults=${faults}removed' '$name$nl
    done
    regular "$signed/SHA256SUMS" && found=$(sha256sum <"$signed/SHA256SUMS") || return 0
    if [ "${found%% *}" != "$digest" ]; then
        faults=${faults}changed' 'SHA256SUMS$nl
        return 0
    fi
    said=$(
        cd -- "$signed" || exit
        while read -r one name; do
            if regular "$name"; then printf '%s  %s\n' "$one" "$name"; fi
        done <SHA256SUMS | sha256sum --quiet -c - 2>/dev/null
    )
    IFS=$nl
    for row in $said; do faults=${faults}changed' '${row%: FAILED*}$nl; done
    IFS=$blank
}

# sound ID: refuse to compare with tables that are not the signed ones any more
sound() {
    faults "$1"
    [ -z "$faults" ] || refuse 83 "the signed tables of $1 are damaged here"
}

# vouch ID…: say what became of their signed parts (*); of which the signatures do not hold by this host's trust of
# today, and why (?); and the digests of list and signatures (#). $sound: 0 if all tables are the signed ones
do_vouch() {
    signers=1 sound=0
    [ -z "$trust" ] || policy "$trust/policy.txt"
    for id do
        admitted "$id"
        faults "$id"
        IFS=$nl
        for row in $faults; do
            sound=1
            say "*$id $row"
        done
        IFS=$blank
        status=74 said='this host has no trust'
        [ -n "$trust" ] && vouched "$signed" || say "?$id $status ${said%%"$nl"*}"
        for path in "$signed"/SHA256SUMS*; do
            regular "$path" && found=$(sha256sum <"$path") && plain "${path##*/}" && say "#$id ${path##*/} ${found%% *}"
        done
    done
    return 0
}

# listing ID FILE: the rows of a release by its signed tables
listing() {
    list=$(tables assemble "$1") || return 1
    into=$2
    folder= octal=
    IFS=$nl
    for row in $list; do
        IFS=$tab
        set -- $row
        parent=${2%/*}
        if [ "$parent" != "$folder" ] && [ "$parent" != "$2" ]; then
            folder=$parent
            while :; do
                printf '%s\tdrwxr-xr-x\t%s\t%s\t\n' "$parent" "$owner" "$group"
                case $parent in */*) parent=${parent%/*} ;; *) break ;; esac
            done
        fi
        if [ "$1" = link ]; then
            printf '%s\tlrwxrwxrwx\t%s\t%s\t%s\n' "$2" "$owner" "$group" "$5"
            continue
        fi
        if [ "$3" != "$octal" ]; then
            octal=$3
            letters "$octal"
        fi
        printf '%s\t-%s\t%s\t%s\t\n' "$2" "$mode" "$owner" "$group"
    done >"$into"
    IFS=$blank
    sort -u -o "$into" -- "$into"
}

# walk TREE: the rows of what is there, sorted, unusual characters as ls -b writes them, into $work/found, and
# the names of regular files into $work/names.
walk() {
    (
        cd -- "$1" && list=$(ls -AlRb --time-style=+ .) || exit 1
        set -f
        folder=
        IFS=$nl
        for row in $list; do
            IFS=' '
            case $row in
                .:) folder= ;;
                ./*:) folder=${row#./} folder=${folder%:}/ ;;
                total\ *) ;;
                *)
                    set -- $row
                    mode=${1%[.+@]} owner=$3 group=$4
                    shift 5
                    case $mode in
                        l*)
                            row=$*
                            printf '%s\t%s\t%s\t%s\t%s\n' "$folder${row%% -> *}" "$mode" "$owner" "$group" "${row#* -> }"
                            ;;
                        *)
                            printf '%s\t%s\t%s\t%s\t\n' "$folder$*" "$mode" "$owner" "$group"
                            case $mode in -*) printf '%s\n' "$folder$*" >&3 ;; esac
                            ;;
                    esac
                    ;;
            esac
        done >"$work/found" 3>"$work/names"
        sort -o "$work/found" -- "$work/found" && sort -o "$work/names" -- "$work/names"
    )
}

# expect ID…: what a tree of these releases must be, the first of two that have one path leading, into $work/rows and,
# for sha256sum, $work/sums
expect() {
    : >"$work/rows" && : >"$work/sums" || refuse 63 "no room for a check"
    for id do
        sound "$id"
        listing "$id" "$work/below" && tables files "$id" >"$work/sums-below" &&
            sort -t ' ' -k 3,3 -u -o "$work/sums-below" -- "$work/sums-below" &&
            both=$(join -t "$tab" -o 0,1.2,2.2 -- "$work/rows" "$work/below") || unreadable "$id"
        # Where one has a directory and the leading one a file or link, that hides all of the directory.
        IFS=$nl
        for row in $both; do
            IFS=$tab
            set -- $row
            case $2:$3 in
                d*:d*) ;;
                *:d*) hide "$1" ;;
            esac
        done
        IFS=$blank
        join -t "$tab" -v 2 -- "$work/rows" "$work/below" >"$work/more" &&
            sort -o "$work/rows" -- "$work/rows" "$work/more" &&
            join -t ' ' -j 3 -v 2 -o 2.1,2.2,2.3 -- "$work/sums" "$work/sums-below" >"$work/more" &&
            sort -t ' ' -k 3,3 -o "$work/sums" -- "$work/sums" "$work/more" || refuse 63 "no room for a check"
    done
}

# hide PATH: leave what lies in this directory out of $work/below
hide() {
    while IFS= read -r row; do
        case $row in "$1"/*) ;; *) printf '%s\n' "$row" ;; esac
    done <"$work/below" >"$work/more" && mv -f -- "$work/more" "$work/below"
    while IFS= read -r row; do
        case $row in *"  $1"/*) ;; *) printf '%s\n' "$row" ;; esac
    done <"$work/sums-below" >"$work/more" && mv -f -- "$work/more" "$work/sums-below"
}

# unlike TREE LIST: the paths of its regular files whose content is not the signed one, into $unlike. LIST names those
# to read; other types are not read
unlike() {
    join -t ' ' -1 3 -2 1 -o 1.1,1.2,1.3 -- "$work/sums" "$2" >"$work/read" || refuse 63 "no room for a check"
    unlike=
    [ -s "$work/read" ] || return 0
    said=$(cd -- "$1" && sha256sum --quiet -c -- "$work/read" 2>/dev/null) && return 0
    [ -n "$said" ] || refuse 83 "$1 cannot be hashed"
    IFS=$nl
    for row in $said; do unlike=$unlike${row%: FAILED*}$nl; done
    IFS=$blank
}

# compare TREE: say rows that are missing (-), rows that are there instead or too (+), and paths with other bytes (!)
compare() {
    walk "$1" && missing=$(comm -23 -- "$work/rows" "$work/found") && more=$(comm -13 -- "$work/rows" "$work/found") ||
        refuse 83 "$1 cannot be read"
    unlike "$1" "$work/names"
    set -f
    IFS=$nl
    for row in $missing; do say "-$row"; done
    for row in $more; do say "+$row"; done
    for row in $unlike; do say "!$row"; done
    IFS=$blank
    set +f
}

# check [ID]: every entry and every byte of what is served, or of one release's own tree, against the signed tables
do_check() {
    scratch
    if [ $# -eq 1 ]; then
        place=$home/releases/$1/tree
    else
        rows_now
        columns
        set -- $leading
        place=$home/active/tree/
    fi
    [ $# -gt 0 ] || return 0
    do_vouch "$@"
    # With damaged tables there is nothing to compare with.
    [ "$sound" -eq 0 ] || return 0
    expect "$@"
    compare "$place"
}

# blob DIGEST: where it lies below blobs/, into $blob
blob() { blob=${1%"${1#??}"}/$1; }

# bad_blobs ID…: the blobs of these releases that are missing or not what their name says, into $bad
bad_blobs() {
    for id do sound "$id"; done
    list=$(for id do tables blobs "$id" || exit 1; done) && list=$(printf '%s\n' "$list" | sort -u) || unreadable "$*"
    bad=
    said=$(
        mkdir -p -- "$home/blobs" && cd -- "$home/blobs" || exit 1
        for digest in $list; do
            case $digest in */*) continue ;; esac
            blob "$digest"
            printf '%s  %s\n' "$digest" "$blob"
        done | sha256sum --quiet -c - 2>/dev/null
    ) && return 0
    [ -n "$said" ] || refuse 83 "blobs cannot be hashed"
    IFS=$nl
    for row in $said; do
        row=${row%: FAILED*}
        bad=$bad${row#*/}' '
    done
    IFS=$blank
}

# damaged ID…: which blobs of these releases are needed again
do_damaged() {
    for id do admitted "$id"; done
    bad_blobs "$@"
    for digest in $bad; do say "$digest"; done
}

# put KIND PATH MODE BLOBS-OR-TARGET: one entry of $tree
put() {
    [ ! -d "$tree/$2" ] || [ -L "$tree/$2" ] || rm -rf -- "$tree/$2" || refuse 83 "$2 cannot be removed"
    if [ "$1" = link ]; then
        ln -sfn -- "$4" "$tree/$2" && chown -h "$owner:$group" -- "$tree/$2" || refuse 83 "$2 cannot be written"
        return 0
    fi
    IFS=$blank
    case $4 in
        *' '*)
            for digest in $4; do
                blob "$digest"
                cat -- "$home/blobs/$blob" || refuse 83 "blob $digest cannot be read"
            done >"$new"
            ;;
        *)
            blob "$4"
            ln -fT -- "$home/blobs/$blob" "$new"
            ;;
    esac && chmod "$3" -- "$new" && chown "$owner:$group" -- "$new" && mv -fT -- "$new" "$tree/$2" &&
        rm -f -- "$new" || refuse 83 "$2 cannot be written"
}

# mend ID: make its tree what was signed, touching only what differs
mend() {
    release=$1
    tree=$home/releases/$release/tree
    new=$home/releases/$release/.new
    scratch
    mkdir -p -m 755 -- "$tree"
    expect "$1"
    walk "$tree" || refuse 83 "$tree cannot be read"
    # Whatever is too much; its name may be anything, so it is met by a pattern and never read.
    extra=$(comm -13 -- "$work/rows" "$work/found") && known=$(cut -f1 -- "$work/rows") &&
        missing=$(comm -23 -- "$work/rows" "$work/found") || unreadable "$1"
    unlike "$tree" "$work/names"
    known=$nl$known$nl
    set -f
    IFS=$nl
    set -- $extra
    set +f
    for row do
        row=${row%%"$tab"*}
        case $row in */*) folder=$tree/${row%/*} ;; *) folder=$tree ;; esac
        empty "$folder"
    done
    for row in $missing; do
        IFS=$tab
        set -- $row
        printf '%s\n' "$1" >&3
        case $2 in d*) ;; *) continue ;; esac
        [ -d "$tree/$1" ] && [ ! -L "$tree/$1" ] || rm -f -- "$tree/$1"
        mkdir -p -- "$tree/$1" && chmod 755 -- "$tree/$1" && chown "$owner:$group" -- "$tree/$1" ||
            refuse 83 "$1 cannot be made"
    done 3>"$work/wrong"
    printf '%s' "$unlike" >>"$work/wrong"
    sort -u -o "$work/wrong" -- "$work/wrong" && tables assemble "$release" >"$work/more" &&
        sort -u -t "$tab" -k 2,2 -o "$work/more" -- "$work/more" &&
        list=$(join -t "$tab" -1 2 -o 1.1,1.2,1.3,1.5 -- "$work/more" "$work/wrong") || unreadable "$release"
    IFS=$nl
    for row in $list; do
        IFS=$tab
        set -- $row
        put "$@"
    done
    IFS=$blank
    walk "$tree" || refuse 83 "$tree cannot be read"
    unlike "$tree" "$work/wrong"
    [ -z "$unlike" ] && both=$(comm -3 -- "$work/rows" "$work/found") && [ -z "$both" ] && sync -f "$tree" ||
        refuse 83 "$release cannot be put together"
}

# empty FOLDER: remove what the signed tables do not have there; names may be anything, so they are never read
empty() {
    [ -d "$1" ] || return 0
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        case $known in
            *"$nl${entry#"$tree"/}$nl"*) ;;
            *) rm -rf -- "$entry" || refuse 83 "$entry cannot be removed" ;;
        esac
    done
}

# receive_again DIGEST: into the store from the inbox, if it is there and is what it is called
receive_again() {
    for path in "$inbox"/*/blobs/"$1"; do
        fresh=$home/blobs/.mended
        rm -f -- "$fresh"
        (umask 077 && try_copy "$path" "$fresh") && found=$(sha256sum <"$fresh") && [ "${found%% *}" = "$1" ] || {
            rm -f -- "$fresh"
            continue
        }
        chmod 644 -- "$fresh" && chown "$owner:$group" -- "$fresh" && mkdir -p -- "$home/blobs/${blob%/*}" &&
            mv -fT -- "$fresh" "$home/blobs/$blob" && return 0
    done
    return 1
}

# restore ID: put together again what differs in its tree, and serve it anew; says which blobs are needed first
do_restore() {
    admitted "$1"
    bad_blobs "$1"
    needed=
    for digest in $bad; do
        blob "$digest"
        rm -f -- "$home/blobs/$blob" || refuse 83 "blob $digest cannot be removed"
        receive_again "$digest" && continue
        needed=1
        say "$digest"
    done
    [ -z "$needed" ] || return 0
    mend "$1"
    if served "$1"; then
        publish
        tidy "$keep_views"
    fi
    [ "$role" = admit ] || rm -rf -- "$inbox/$1" 2>/dev/null || :
}

# restore_signed ID: put what came in in place of a damaged signed part, if this host's trust vouches for it. Name by
# name: each of them is the damaged one or the signed one at any time
do_restore_signed() {
    admitted "$1"
    id=$1
    [ -n "$trust" ] || refuse 74 "this host has no trust yet"
    policy "$trust/policy.txt"
    [ -d "$inbox/$id/signed" ] || refuse 64 "nothing of $id was pushed here"
    half=$home/releases/.partial-$id
    copy_files "$inbox/$id/signed" "$half"
    faults "$id"
    set --
    for name in $names; do
        case $name in files-*) name=${name#files-} && set -- "$@" -t "${name%.sha256}" ;; esac
    done
    vouched "$half" "$@" || refuse "$status" "$id: $said"
    found=$(sha256sum <"$half/SHA256SUMS") && [ "${found%% *}" = "$digest" ] ||
        refuse 77 "$id has other content than the one this host has admitted"
    mkdir -p -m 755 -- "$signed" && readable "$half" && sync -f "$half" || refuse 83 "$signed cannot be written"
    for path in "$half"/SHA256SUMS.*.sig; do names="$names ${path##*/}"; done
    for path in "$signed"/* "$signed"/.[!.]*; do
        if regular "$path"; then
            case " $names " in *" ${path##*/} "*) continue ;; esac
            case ${path##*/} in SHA256SUMS.*.sig) continue ;; esac
        fi
        rm -rf -- "$path" || refuse 83 "$path cannot be removed"
    done
    for name in $names; do
        mv -fT -- "$half/$name" "$signed/$name" || refuse 83 "$signed/$name cannot be written"
    done
    sync -f "$signed"
    [ "$role" = admit ] || rm -rf -- "$inbox/$id" 2>/dev/null || :
}

# fetch DIGEST…: each blob as a line "DIGEST SIZE" and its bytes
do_fetch() {
    for digest do
        digest_like "$digest" || refuse 2 "no such blob"
        blob "$digest"
        size=$(stat -c %s -- "$home/blobs/$blob") || refuse 83 "blob $digest is not here"
        printf '#%s %s\n' "$digest" "$size"
        head -c "$size" -- "$home/blobs/$blob"
    done
}

# fetch_signed ID: each file of its signed part as a line "NAME SIZE" and its bytes
do_fetch_signed() {
    admitted "$1"
    for path in "$home/releases/$1/signed"/*; do
        name=${path##*/}
        plain "$name" && regular "$path" || continue
        size=$(stat -c %s -- "$path") || refuse 83 "$name cannot be read"
        printf '#%s %s\n' "$name" "$size"
        head -c "$size" -- "$path"
    done
}

# receipt KEY: what is here, as text, and its signature by the host's own key
do_receipt() {
    rows_now
    receipt=$(
        printf 'format 1\nhost %s\ntime %s\ntrust %s\n' "$(uname -n)" "$(date +%s)" "$version"
        for release in "$home"/releases/*/; do
            id=${release%/}
            id=${id##*/}
            [ -f "$release/signed/SHA256SUMS" ] || continue
            row_of "${id%-*}"
            state=staged
            [ "$id" != "$active" ] || state=active
            [ "$id" != "$previous" ] || state=previous
            digest=$(sha256sum <"$release/signed/SHA256SUMS") || exit 1
            printf 'release %s %s %s\n' "$id" "$state" "${digest%% *}"
        done
        for line in "$home"/seen/*; do
            [ ! -f "$line" ] || printf 'seen %s %s\n' "${line##*/}" "$(cat -- "$line")"
        done
    ) || refuse 83 "the receipt cannot be written"
    signature=$(printf '%s\n' "$receipt" | ssh-keygen -q -Y sign -n receipt@offline -f "$1" 2>/dev/null) ||
        refuse 83 "the host key $1 cannot sign"
    printf '%s\n' "$receipt" | while IFS= read -r row; do say "receipt $row"; done
    printf '%s\n' "$signature" | while IFS= read -r row; do say "signature $row"; done
}
