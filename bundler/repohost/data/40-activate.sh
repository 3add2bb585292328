# What is served: activate, deactivate, rollback, prune.
#
# A view is the trees of all lines in one, by hard links: first every line's previous release, over them every line's
# active one. Served names lead through .bundles/active into one view; renaming that link is the one switch. Of
# views/<n>/lines each row is: line, active release, previous release or "-". The line activated last has the last row:
# where lines share a name, simple/<target> or a file of constraints/, its release is the one that leads.

keep_views=3

# with_row LINE [ACTIVE PREVIOUS]: put the row into $rows in place of the line's own, or take that away
with_row() {
    row=
    [ $# -eq 1 ] || row=$1' '$2' '$3$nl
    line=$1
    set -- $rows
    rows=
    while [ $# -gt 0 ]; do
        [ "$1" = "$line" ] || rows=$rows$1' '$2' '$3$nl
        shift 3
    done
    rows=$rows$row
}

# columns: the releases of $rows into $actives and $previouses; all of them, those that lead first, into $leading
columns() {
    actives= previouses= leading= behind=
    set -- $rows
    while [ $# -gt 0 ]; do
        actives=$actives' '$2 leading=$2' '$leading
        [ "$3" = - ] || previouses=$previouses' '$3 behind=$3' '$behind
        shift 3
    done
    leading=$leading$behind
}

# served ID: whether it is the active or the previous release of its line
served() {
    rows_now
    row_of "${1%-*}"
    [ "$1" = "$active" ] || [ "$1" = "$previous" ]
}

# admitted ID: refuse what is no admitted release
admitted() { plain "$1" && [ -f "$home/releases/$1/facts" ] || refuse 83 "$1 is not admitted here"; }

# allowed ID: refuse what this host's trust no longer lets be served
allowed() {
    [ -n "$trust" ] || refuse 74 "this host has no trust yet"
    policy "$trust/policy.txt"
    vouched "$home/releases/$1/signed" || refuse "$status" "$1: $said"
    digest=$(sha256sum <"$home/releases/$1/signed/SHA256SUMS") || refuse 83 "the signed list of $1 cannot be read"
    digest=${digest%% *}
    unrevoked "$1"
    facts_of "$home/releases/$1/signed/release.txt"
    rule floor "$name"
    [ "$sequence" -ge "$value" ] || refuse 76 "$1 is older than $value, which trust asks for at least"
    rule epoch "$name"
    epoch=0
    while read -r word one; do
        [ "$word" != epoch ] || epoch=$one
    done <"$home/releases/$1/facts"
    [ "$epoch" -ge "$value" ] || refuse 76 "$1 is of epoch $epoch, trust is at $value"
}

# make_way ID: remove from the view what is of another type than in the release
make_way() {
    list=$(tables assemble "$1") || return 1
    folder=
    IFS=$nl
    for row in $list; do
        IFS=$tab
        set -- $row
        at=$view/tree/$2
        if [ "${2%/*}" != "$folder" ]; then
            folder=${2%/*}
            left=$2 upto=
            while [ "$left" != "${left#*/}" ]; do
                upto=$upto/${left%%/*}
                left=${left#*/}
                if [ -L "$view/tree$upto" ] || [ -f "$view/tree$upto" ]; then rm -f -- "$view/tree$upto" || return 1; fi
            done
        fi
        if [ -d "$at" ] && [ ! -L "$at" ]; then rm -rf -- "$at" || return 1; fi
    done
    IFS=$blank
}

# overlay ID: lay a release's tree over the view
overlay() {
    cp -alf -- "$home/releases/$1/tree/." "$view/tree/" 2>/dev/null && return 0
    make_way "$1" && said=$(cp -alf -- "$home/releases/$1/tree/." "$view/tree/" 2>&1) && return 0
    refuse 83 "no view can be made of $1: ${said-}"
}

# carry: keep what others wrote where OpenStack-Ansible writes, beside what is ours
carry() {
    before=$(
        rows_now
        columns
        printf '%s' "$actives$previouses"
    ) || exit 1
    for from in "$home"/active/tree/constraints "$home"/active/tree/os-releases/*/*/requirements; do
        inner=${from#"$home/active/tree/"}
        [ -d "$from" ] && [ -d "$view/tree/$inner" ] || continue
        set --
        for file in "$from"/*; do
            name=${file##*/}
            if [ -e "$view/tree/$inner/$name" ] || [ -L "$view/tree/$inner/$name" ]; then continue; fi
            [ -f "$file" ] || [ -L "$file" ] || continue
            for id in $before; do
                [ ! -e "$home/releases/$id/tree/$inner/$name" ] || continue 2
            done
            set -- "$@" "$file"
        done
        [ $# -eq 0 ] || cp -a -- "$@" "$view/tree/$inner/" || refuse 83 "files of others in $inner cannot be kept"
    done
}

# clash: refuse lines that would serve one path with different content, or as different things, where none may lead
clash() {
    set -- $actives
    [ $# -gt 1 ] || return 0
    scratch
    for id do
        listing "$id" "$work/below" && cut -f1,2 -- "$work/below" && tables files "$id" >&3 || unreadable "$id"
    done >"$work/types" 3>"$work/bytes"
    sort -u -o "$work/types" -- "$work/types" && cut -f1 -- "$work/types" >"$work/paths" &&
        sort -u -k2,2 -k1,1 -o "$work/bytes" -- "$work/bytes" && cut -c67- -- "$work/bytes" >"$work/more" &&
        both=$(uniq -d -- "$work/paths") && more=$(uniq -d -- "$work/more") || refuse 63 "no room to compare releases"
    set --
    for path in $both $more; do
        case $path in
            # What many releases bring by its nature: the one activated last leads.
            simple/* | constraints/*) ;;
            *) set -- "$@" "$path" ;;
        esac
    done
    [ $# -eq 0 ] || refuse 83 "$# paths are served by another release too, with other content, the first: $1"
}

# publish: serve $rows
publish() {
    columns
    clash
    names=' '
    for id in $previouses $actives; do
        for path in "$home/releases/$id/tree"/*; do
            name=${path##*/}
            case $names in *" $name "*) continue ;; esac
            names=$names$name' '
            [ ! -e "$root/$name" ] && [ ! -L "$root/$name" ] || ours "$name" ||
                refuse 83 "$root/$name is in the way: we did not make it"
        done
    done
    number=0
    for view in "$home"/views/*/; do
        view=${view%/}
        view=${view##*/}
        [ "$view" = '*' ] || [ "$view" -le "$number" ] || number=$view
    done
    number=$((number + 1))
    view=$home/views/.partial-$number
    rm -rf -- "$home"/views/.partial-* && mkdir -p -- "$view/tree" && chmod 755 -- "$home/views" "$view" ||
        refuse 83 "view $number cannot be made"
    for id in $previouses $actives; do overlay "$id"; done
    carry
    printf '%s' "$rows" >"$view/lines" && sync -f "$view" && mv -T -- "$view" "$home/views/$number" ||
        refuse 83 "view $number cannot be written"
    for name in $names; do
        ours "$name" || ln -sT -- ".bundles/active/tree/$name" "$root/$name" ||
            refuse 83 "$root/$name cannot be made"
    done
    ln -sfnT -- "views/$number" "$home/.switch" && mv -fT -- "$home/.switch" "$home/active" && sync -f "$home" ||
        refuse 83 "the switch to view $number failed"
}

# tidy KEEP: remove what nobody needs once a view is served: other views but the newest, our links that lead nowhere
tidy() {
    [ -L "$home/active" ] || return 0
    current=$(readlink -- "$home/active") || refuse 83 "$home/active cannot be read"
    current=${current##*/}
    for view in "$home"/views/.partial-* "$home"/views/*; do
        number=${view##*/}
        case $number in
            "$current" | '*') continue ;;
            *[!0-9]*) ;;
            *) [ "$number" -gt "$current" ] || [ "$number" -le $((current - $1)) ] || continue ;;
        esac
        rm -rf -- "$view" || refuse 83 "$view cannot be removed"
    done
    rm -f -- "$home/.switch" || refuse 83 "$home/.switch cannot be removed"
    for top in "$root"/*; do
        [ -e "$top" ] || ! ours "${top##*/}" || rm -f -- "$top" || refuse 83 "$top cannot be removed"
    done
}

# activate ID
do_activate() {
    admitted "$1"
    rows_now
    row_of "${1%-*}"
    if [ "$active" != "$1" ]; then
        allowed "$1"
        with_row "${1%-*}" "$1" "$active"
        publish
    fi
    tidy "$keep_views"
}

# rollback LINE ID: serve its previous release, which is ID
do_rollback() {
    rows_now
    row_of "$1"
    [ "$active" != - ] || refuse 83 "nothing of $1 is served here"
    if [ "$active" != "$2" ]; then
        [ "$previous" = "$2" ] || refuse 83 "the previous release of $1 is $previous here, not $2"
        admitted "$2"
        allowed "$2"
        with_row "$1" "$2" "$active"
        publish
    fi
    tidy "$keep_views"
}

# deactivate LINE ID: serve nothing of a line again, of which ID is the first release that was activated
do_deactivate() {
    rows_now
    row_of "$1"
    if [ "$active" != - ]; then
        [ "$active $previous" = "$2 -" ] || refuse 83 "$active of $1 is served here, $previous was before it"
        with_row "$1"
        publish
    fi
    tidy "$keep_views"
}

# survey AGE ID…: what a prune would remove, without a temporary file: $going, $pushes, $spare
survey() {
    number "$1" || refuse 2 "no such age"
    age=$1
    shift
    going=' ' pushes=' '
    for id do
        plain "$id" || refuse 2 "no such release"
        [ -d "$home/releases/$id" ] || continue
        ! served "$id" || refuse 83 "$id stays: it is served, or a rollback needs it"
        going=$going$id' '
    done
    now=$(date +%s) || refuse 83 "the clock cannot be read"
    for push in "$inbox"/*/; do
        id=${push%/}
        id=${id##*/}
        # What another login pushed is its own to remove.
        [ "$id" != '*' ] && [ "$role" != admit ] && [ -w "$push" ] || continue
        times=$(stat -c %Y -- "$push" "$push"*/) || refuse 83 "$push cannot be read"
        touched=0
        for at in $times; do
            [ "$at" -le "$touched" ] || touched=$at
        done
        { [ ! -d "$home/releases/$id" ] && [ $((now - touched)) -le "$age" ]; } ||
            pushes=$pushes$id' '
    done
    needed=$(
        for table in "$home"/releases/*/signed/blobs-*.sha256 "$inbox"/*/signed/blobs-*.sha256; do
            id=${table%/signed/*}
            case $table in
                "$home"/releases/*) gone=$going ;;
                *)
                    [ "$role" != admit ] || continue
                    gone=$pushes
                    ;;
            esac
            case $gone in *" ${id##*/} "*) continue ;; esac
            [ ! -e "$table" ] || cut -c1-64 -- "$table" || exit 1
        done
    ) || refuse 83 "the signed tables cannot be read"
    spare=$(
        {
            printf '%s\n%s\n' "$needed" "$needed"
            for blob in "$home"/blobs/??/*; do
                [ ! -f "$blob" ] || printf '%s\n' "${blob##*/}"
            done
        } | sort
    ) && spare=$(printf '%s\n' "$spare" | uniq -u) || refuse 83 "blobs cannot be listed"
}

# freed: how many bytes on the disk only what $going, $pushes and $spare name, and old views, still hold
freed() {
    current=$(readlink -- "$home/active") || current=
    {
        for id in "$home"/releases/* "$home/${current:-views/-}"; do
            case $going in *" ${id##*/} "*) ;; *) [ ! -d "$id" ] || printf '%s\0' "$id" ;; esac
        done
        for id in $going; do printf '%s\0' "$home/./releases/$id"; done
        for id in $pushes; do printf '%s\0' "$inbox/./$id"; done
        for id in "$home"/./releases/.gone-* "$home"/./views/*; do [ ! -d "$id" ] || printf '%s\0' "$id"; done
        for id in $spare; do printf '%s\0' "$home/./blobs/${id%"${id#??}"}/$id"; done
    } | du -s -B1 --files0-from=- 2>/dev/null | {
        sum=0
        while IFS=$tab read -r bytes path; do
            case $path in */./*) sum=$((sum + bytes)) ;; esac
        done
        printf '%s\n' "$sum"
    }
}

# prune_plan AGE ID…: what `prune` with the same arguments would remove
do_prune_plan() {
    survey "$@"
    for id in $going; do say "release $id"; done
    for id in $pushes; do say "push $id"; done
    say "blobs $(printf '%s' "$spare" | wc -w | tr -d ' ')"
    say "bytes $(freed)"
}

# prune AGE ID…: remove releases, old views, blobs that nothing needs, and pushes cut more than AGE seconds ago. A
# release leaves by a rename; nothing is written, so that a full disk is no obstacle.
do_prune() {
    survey "$@"
    say "bytes $(freed)"
    for id in $going; do
        mv -T -- "$home/releases/$id" "$home/releases/.gone-$id" || refuse 83 "$id cannot be removed"
    done
    [ "$going" = ' ' ] || sync -f "$home/releases" || :
    tidy 1
    for id in $pushes; do rm -rf -- "$inbox/$id" || refuse 83 "$inbox/$id cannot be removed"; done
    rm -rf -- "$home"/releases/.gone-* || refuse 83 "releases cannot be removed"
    set --
    for id in $spare; do
        set -- "$@" "${id%"${id#??}"}/$id"
        if [ $# -eq 500 ]; then
            (cd "$home/blobs" && rm -f -- "$@") || refuse 83 "blobs cannot be removed"
            set --
        fi
    done
    [ $# -eq 0 ] || (cd "$home/blobs" && rm -f -- "$@") || refuse 83 "blobs cannot be removed"
}
