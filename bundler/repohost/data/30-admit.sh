# Whether what came in is what was signed, by this host's own trust; then a release is put together and proved.

# verify OPTION…: verify.sh, which travels inside this script
verify() {
    said=$(sh -c "$verify_sh" verify.sh "$@" 2>&1)
    status=$?
    said=${said##*refused: }
    return "$status"
}

# vouched SIGNED OPTION…: whether enough signers who count here today vouch for a release's signed part
vouched() {
    vouched=$1
    shift
    allowed=$trust/allowed_signers.bundle
    for word in $less; do
        case $word in
            signer:* | key:*) allowed= ;;
            bundle:*) ;;
            *) refuse 2 "cannot distrust $word" ;;
        esac
    done
    if [ -z "$allowed" ]; then
        scratch
        allowed=$work/allowed
        while read -r who rest; do
            case "$less " in *" signer:$who "* | *" key:${rest##* } "*) ;; *) printf '%s %s\n' "$who" "$rest" ;; esac
        done <"$trust/allowed_signers.bundle" >"$allowed"
    fi
    verify "$@" -p -n "$signers" -r "$trust/revoked_keys" "$allowed" "$vouched"
}

# unrevoked ID: refuse the bundle of that id and $digest if it was revoked
unrevoked() {
    case $rules in *"${nl}revoked-bundle $digest "*) refuse 78 "$1 is revoked" ;; esac
    case "$less " in *" bundle:$digest "*) refuse 78 "$1 is distrusted by the deployment host" ;; esac
}

# policy FILE: read a trust document's rules into $roots, $signers, $numbered, $rules
policy() {
    roots=0 signers=0 numbered=0 rules=$nl
    while read -r word one two; do
        case $word:$one in
            version:*) numbered=$one ;;
            threshold:root) roots=$two ;;
            threshold:bundle) signers=$two ;;
            epoch:* | floor:* | revoked-bundle:*) rules=$rules$word' '$one' '$two$nl ;;
        esac
    done <"$1" && number "$numbered" && number "$roots" && number "$signers" && [ "$roots" -gt 0 ] &&
        [ "$signers" -gt 0 ] || refuse 75 "the rules of a trust document are garbled"
}

# rule WORD NAME: the value of a rule into $value, 0 without one
rule() {
    value=0
    case $rules in *"$nl$1 $2 "*) ;; *) return 0 ;; esac
    value=${rules#*"$nl$1 $2 "}
    value=${value%%"$nl"*}
    number "$value" || refuse 75 "the rule $1 $2 is garbled"
}

# copy_files FROM TO: regular files with plain names only, so that what is judged cannot be changed any more. They are
# nobody else's to read until they are known: the other user may have put a link in place of a file meanwhile.
copy_files() {
    umask 077
    mkdir -p -- "$2" || refuse 63 "$2 cannot be made"
    for path in "$1"/*; do
        plain "${path##*/}" || refuse 66 "${path##*/} is not a regular file"
        copy_in "$path" "$2/${path##*/}" 268435456
    done
    umask 022
}

# readable PATH…: for everybody
readable() { chmod -R u=rwX,go=rX -- "$@" || refuse 83 "$1 cannot be written"; }

# install_trust VERSION DIRECTORY [DIGEST]: take a document that follows the current one; the very first by its digest
install_trust() {
    new=$trust_home/.partial-$1
    mkdir -p -- "$trust_home" && rm -rf -- "$trust_home"/.partial-* || refuse 83 "$trust_home cannot be written"
    half=$new
    copy_files "$2" "$new"
    if [ -n "$trust" ]; then
        policy "$trust/policy.txt"
        before=$rules
        verify -N trust@offline -n "$roots" -r "$trust/revoked_keys" "$trust/allowed_signers.root" "$new" ||
            distrusted "trust $1 by the rules of $version: $said"
    elif [ -n "${3-}" ]; then
        found=$(sha256sum <"$new/SHA256SUMS") && [ "${found%% *}" = "$3" ] || refuse 75 "trust $1 is not $3"
    fi
    for name in trust.json allowed_signers.root allowed_signers.bundle revoked_keys; do
        [ -f "$new/$name" ] || refuse 75 "trust $1 has no $name"
    done
    policy "$new/policy.txt"
    verify -N trust@offline -n "$roots" -r "$new/revoked_keys" "$new/allowed_signers.root" "$new" ||
        distrusted "trust $1 by its own rules: $said"
    [ "$1" = "$(printf %04d "$numbered")" ] && [ "$numbered" -eq $((version + 1)) ] ||
        refuse 75 "trust $numbered does not follow $version"
    [ -z "$trust" ] || rising
    readable "$new"
    sync -f "$new" && mv -T -- "$new" "$trust_home/$1" && sync -f "$trust_home" || refuse 83 "trust $1 cannot be kept"
}

# rising: refuse a document in which a floor or an epoch of $before falls, or what was revoked is so no more. A new
# epoch may lower its floor
rising() {
    after=$rules
    IFS=$nl
    for row in $before; do
        IFS=$blank
        set -- $row
        if [ "$1" = revoked-bundle ]; then
            case $after in *"$nl$1 $2 "*) continue ;; esac
            refuse 75 "trust $numbered goes back: $2 is no longer revoked"
        fi
        rule "$1" "$2"
        [ "$value" -lt "$3" ] || continue
        fallen="trust $numbered goes back: $1 of $2 falls from $3 to $value"
        rules=$before
        rule epoch "$2"
        old=$value rules=$after
        rule epoch "$2"
        [ "$1" = floor ] && [ "$value" -gt "$old" ] || refuse 75 "$fallen"
    done
    IFS=$blank
    gone=$(comm -23 -- "$trust/revoked_keys" "$new/revoked_keys") || refuse 75 "the revoked keys of trust $numbered are garbled"
    [ -z "$gone" ] || refuse 75 "trust $numbered goes back: a key is no longer revoked"
}

# distrusted MESSAGE: the refusal after verify of a trust document
distrusted() {
    [ "$status" -ne 90 ] || refuse 90 "$said"
    refuse 75 "$1"
}

# take_trust VERSION: accept a document from the inbox
do_take_trust() {
    case $1 in [0-9][0-9][0-9][0-9]) ;; *) refuse 2 "no such version" ;; esac
    if [ ! -d "$trust_home/$1" ]; then
        [ -n "$trust" ] || [ "$role" = both ] ||
            refuse 74 "this host has no trust yet: its administrator runs bundle-repo trust-init"
        install_trust "$1" "$inbox/.trust/$1"
    fi
    # In separate hands the inbox is another's: a path through it may lead anywhere by now.
    [ "$role" = admit ] || rm -rf -- "$inbox/.trust/$1" 2>/dev/null
    return 0
}

# facts_of FILE: read release.txt into $name, $release_version, $sequence, $floor, $known_targets
facts_of() {
    name= release_version= sequence= floor=0 known_targets=' '
    while read -r word one rest; do
        case $word in
            name) name=$one ;;
            version) release_version=$one ;;
            sequence) sequence=$one ;;
            floor) floor=$one ;;
            target) known_targets=$known_targets$one' ' ;;
        esac
    done <"$1" && number "$sequence" && number "$floor" || refuse 60 "release.txt is garbled"
}

# timely: by this host's own memory and trust, is the release new enough
timely() {
    unrevoked "$id"
    rule floor "$name"
    [ "$sequence" -ge "$value" ] || refuse 76 "$id is older than $value, which trust asks for at least"
    rule epoch "$name"
    epoch=$value
    seen_epoch=0 seen_sequence=0 seen_digest=
    [ ! -f "$home/seen/$its_line" ] || read -r seen_epoch seen_sequence seen_digest <"$home/seen/$its_line"
    [ "$epoch" -gt "$seen_epoch" ] && return 0
    [ "$epoch" -eq "$seen_epoch" ] && [ "$sequence" -ge "$seen_sequence" ] ||
        refuse 76 "$id is older than $seen_sequence, which this host has admitted"
    [ "$sequence" -ne "$seen_sequence" ] || [ "$digest" = "$seen_digest" ] ||
        refuse 77 "$id has other content than the one this host has admitted"
}

# shelve: bring the blobs that the release needs and the store lacks from the inbox
shelve() {
    cut -c1-64 -- "$partial"/signed/blobs-*.sha256 | sort -u >"$work/needed" &&
        for path in "$home"/blobs/??/*; do printf '%s\n' "${path##*/}"; done | sort -u >"$work/stored" &&
        comm -23 -- "$work/needed" "$work/stored" >"$work/wanted" || refuse 63 "no room for lists"
    missing=0 first=
    while IFS= read -r one; do
        pushed "$one" && continue
        missing=$((missing + 1))
        first=${first:-$one}
    done <"$work/wanted"
    [ "$missing" -eq 0 ] || refuse 64 "$missing blobs are missing, the first: $first"
    [ "$role" != admit ] || isolate
    shelf=
    set --
    while IFS= read -r one; do
        if [ "${one%"${one#??}"}" != "$shelf" ]; then
            [ $# -eq 0 ] || put_away "$@"
            shelf=${one%"${one#??}"}
            set --
        fi
        pushed "$one"
        set -- "$@" "$path"
    done <"$work/wanted"
    [ $# -eq 0 ] || put_away "$@"
    rm -rf -- "$fresh"
}

# pushed DIGEST: find a blob that came in, into $path
pushed() {
    for path in "$fresh/$1" "$inbox"/*/blobs/"$1"; do
        [ ! -f "$path" ] || [ -L "$path" ] || return 0
    done
    return 1
}

# isolate: copy the wanted blobs where their pusher cannot change them, and hash them: in separate hands, what lies in
# the inbox is only what the pusher says it is
isolate() {
    mkdir -m 700 -- "$fresh" || refuse 83 "$fresh cannot be made"
    while IFS= read -r one; do
        printf '%s  %s\n' "$one" "$one" >&3
        pushed "$one"
        copy_in "$path" "$fresh/$one"
    done <"$work/wanted" 3>"$work/list"
    [ -s "$work/list" ] || return 0
    (cd -- "$fresh" && sha256sum -c "$work/list" >"$work/said" 2>/dev/null) || {
        rm -rf -- "$fresh"
        refuse 61 "blobs in the inbox are not what they are called"
    }
    readable "$fresh"
}

# put_away PATH…: into the directory $shelf of the store
put_away() {
    mkdir -p -- "$home/blobs/$shelf" && mv -f -t "$home/blobs/$shelf" -- "$@" || refuse 63 "blobs cannot be kept"
}

# shape: refuse tables that lead out of the tree, or in which a path is there twice or lies below a file or a link
shape() {
    folder=
    while IFS=$tab read -r kind path mode class content; do
        garbled="the table of files is garbled: $path"
        case $kind:/$path/ in
            *:/.* | *:*/../* | *:*/./* | *:*//*) refuse 60 "$garbled" ;;
            file:*) ;;
            link:*)
                at=$path
                while [ "$content" != "${content#../}" ]; do
                    case $at in */*) ;; *) refuse 60 "$garbled leads out of the root" ;; esac
                    at=${at%/*} content=${content#../}
                done
                case /$content/ in /.* | */../* | */./* | *//*) refuse 60 "$garbled leads elsewhere" ;; esac
                ;;
            *) refuse 60 "$garbled" ;;
        esac
        printf '%s\n' "$path" >&3
        case $path in */*) path=${path%/*} ;; *) continue ;; esac
        [ "$path" != "$folder" ] || continue
        folder=$path
        while :; do
            printf '%s\n' "$path"
            case $path in */*) path=${path%/*} ;; *) break ;; esac
        done
    done <"$work/rows" >"$work/above" 3>"$work/paths"
    sort -u -o "$work/above" -- "$work/above" && sort -- "$work/paths" "$work/above" >"$work/more" &&
        both=$(uniq -d -- "$work/more") || refuse 63 "no room for lists"
    [ -z "$both" ] || refuse 60 "the table of files is garbled: ${both%%"$nl"*} is there twice, or is no directory"
}

# assemble: put the tree of $partial together from blobs; a file that the line's active release has too is linked
assemble() {
    mkdir -- "$partial/tree" || refuse 83 "$partial/tree cannot be made"
    sort -u -- "$partial"/signed/assemble-*.tsv >"$work/rows" || refuse 63 "no room for lists"
    shape
    rows_now
    row_of "$its_line"
    same=$nl
    if [ -n "$shares" ] && [ "$active" != - ] && [ -d "$home/releases/$active/tree" ]; then
        tables files "$active" | sort -u >"$work/old" && sort -u -- "$partial"/signed/files-*.sha256 >"$work/new" ||
            refuse 63 "no room for lists"
        same=$nl$(comm -12 -- "$work/old" "$work/new" | cut -c67-)$nl
    fi
    folder=
    while IFS=$tab read -r kind path mode class content; do
        at=$partial/tree/$path
        case $path in */*) parent=${at%/*} ;; *) parent=$partial/tree ;; esac
        if [ "$parent" != "$folder" ]; then
            folder=$parent
            [ -d "$folder" ] || mkdir -p -- "$folder" || refuse 63 "no room for $path"
        fi
        case $kind in
            file) join_file || refuse 63 "$path cannot be put together" ;;
            link) ln -s -- "$content" "$at" || refuse 63 "$path cannot be linked" ;;
        esac
    done <"$work/rows"
    readable "$partial/tree"
    while IFS=$tab read -r kind path mode class content; do
        [ "$kind" = link ] || [ "$mode" = 0644 ] || chmod "$mode" -- "$partial/tree/$path" || refuse 83 "$path: mode"
    done <"$work/rows"
    [ "$owner:$group" = "$(id -un):$(id -gn)" ] || chown -R -h "$owner:$group" -- "$partial/tree" ||
        refuse 83 "files cannot be given to $owner:$group"
}

# join_file: $path from its blobs $content
join_file() {
    if [ "$mode" != 0644 ]; then
        :
    elif case $content in *' '*) ;; *) false ;; esac then
        case $same in *"$nl$path$nl"*) ln -- "$home/releases/$active/tree/$path" "$at" 2>/dev/null && return 0 ;; esac
    else
        ln -- "$home/blobs/${content%"${content#??}"}/$content" "$at" 2>/dev/null && return 0
    fi
    for one in $content; do
        cat -- "$home/blobs/${one%"${one#??}"}/$one" || return 1
    done >"$at"
}

# prove RELEASE TARGET…: whether its signed list holds by this host's trust, and every file of its tree by that list
prove() {
    release=$1
    shift
    # Targets have no blanks: they come from a request.
    options=
    for target do options=$options' -t '$target; done
    vouched "$release/signed" --tree "$release/tree" $options
}

# admit ID TARGET…: check a pushed bundle by this host's own trust, put its release together and prove every file
do_admit() {
    id=$1
    shift
    plain "$id" && [ $# -gt 0 ] || refuse 2 "no such bundle"
    [ -n "$trust" ] || refuse 74 "this host has no trust yet"
    scratch
    policy "$trust/policy.txt"
    partial=$home/releases/.partial-$id
    fresh=$home/blobs/.new
    mkdir -p -- "$home/releases" "$home/seen" "$home/blobs" &&
        rm -rf -- "$home"/releases/.gone-* "$fresh" || refuse 83 "$home cannot be written"
    chmod 755 -- "$home" "$home/releases"
    [ -d "$inbox/$id/signed" ] || refuse 64 "nothing of $id was pushed here"
    half=$partial
    mkdir -m 700 -- "$partial" || refuse 63 "$partial cannot be made"
    copy_files "$inbox/$id/signed" "$partial/signed"
    vouched "$partial/signed" ||
        refuse "$status" "$id: $said"
    readable "$partial/signed"
    facts_of "$partial/signed/release.txt"
    its_line=$name-$release_version
    [ "$id" = "$its_line-$sequence" ] || refuse 67 "$id calls itself $its_line-$sequence"
    digest=$(sha256sum <"$partial/signed/SHA256SUMS") || refuse 83 "SHA256SUMS cannot be read"
    digest=${digest%% *}
    timely
    facts="digest $digest${nl}sequence $sequence${nl}epoch $epoch$nl"
    for target do
        case $known_targets in *" $target "*) ;; *) refuse 68 "$id has nothing for $target" ;; esac
        facts=${facts}target' '$target$nl
    done
    if ! stands "$@"; then
        shelve
        shares=1
        assemble
        prove "$partial" "$@" || again "$@"
        keep "$@"
    fi
    [ "$role" = admit ] || rm -rf -- "$inbox/$id" 2>/dev/null
    return 0
}

# again TARGET…: after a refusal, put it together anew without what has rotted here since it came: blobs go, so that a
# rerun sends them, and files of the active release are not linked
again() {
    [ "$status" -eq 61 ] || refuse "$status" "$id: $said"
    printf '%s' "$facts" >"$partial/facts" || refuse 63 "no room for $id"
    bad=$(bad_blobs ".partial-$id" && printf '%s' "$bad") || exit 1
    for one in $bad; do
        blob "$one"
        rm -f -- "$home/blobs/$blob" || refuse 83 "blob $one cannot be removed"
    done
    [ -z "$bad" ] || refuse 64 "blobs of $id had rotted here and were removed: $bad"
    rm -rf -- "$partial/tree"
    shares=
    assemble
    prove "$partial" "$@" || refuse "$status" "$id: $said"
}

# stands TARGET…: whether the release is here already, whole
stands() {
    [ -f "$home/releases/$id/facts" ] || return 1
    case $(cat -- "$home/releases/$id/facts") in
        "${facts}admitted "*) prove "$home/releases/$id" "$@" ;;
        *) return 1 ;;
    esac
}

# keep: make $partial the release, and remember its sequence first
keep() {
    size=$(du -sb -- "$partial/tree") && now=$(date +%s) &&
        printf '%sadmitted %s\nsize %s\n' "$facts" "$now" "${size%%"$tab"*}" >"$partial/facts" &&
        chmod 755 -- "$partial" && sync -f "$partial" || refuse 63 "no room for $id"
    printf '%s %s %s\n' "$epoch" "$sequence" "$digest" >"$home/.seen" && sync -f "$home" &&
        mv -f -- "$home/.seen" "$home/seen/$its_line" || refuse 63 "the sequence of $its_line cannot be kept"
    if [ -d "$home/releases/$id" ]; then
        mv -T -- "$home/releases/$id" "$home/releases/.gone-$id" || refuse 83 "$id cannot be replaced"
    fi
    mv -T -- "$partial" "$home/releases/$id" && sync -f "$home/releases" || refuse 83 "$id cannot be kept"
    rm -rf -- "$home/releases/.gone-$id"
}
