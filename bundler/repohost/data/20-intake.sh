# What comes in: a look at the host, blobs, signed files, trust documents. All of it lies in the inbox until admitted.

# nearest DIRECTORY: it, or the nearest directory above it that exists, into $place
nearest() {
    place=$1
    while [ ! -d "$place" ]; do
        case $place in
            /*/*) place=${place%/*} ;;
            /*) place=/ ;;
            *) place=. ;;
        esac
    done
}

# system_name: this host's own system as targets are called, into $system
system_name() {
    system=unknown ID=linux VERSION_ID=0
    while IFS='=' read -r key value; do
        value=${value#[\"\']}
        value=${value%[\"\']}
        case $key in
            ID) ID=$value ;;
            VERSION_ID) VERSION_ID=$value ;;
        esac
    done 2>/dev/null </etc/os-release
    [ "$ID" = ubuntu ] || VERSION_ID=${VERSION_ID%%.*}
    system=$ID-$VERSION_ID-$(uname -m)
}

# hello: facts of this host; changes nothing
do_hello() {
    system_name
    say "system $system"
    nearest "$home"
    set -- $(stat -f -c '%a %S %d' -- "$place")
    say "free $(($1 * $2))"
    say "inodes $3"
    say "trust $version"
    if [ "$role" = push ]; then nearest "$inbox"; fi
    if [ -w "$place" ]; then say 'writable 1'; else say 'writable 0'; fi
    lock_place
    if [ -d "$lock" ] && held "$lock"; then say "holder $holder"; fi
    for path in "$root"/*; do
        name=${path##*/}
        { [ -e "$path" ] || [ -L "$path" ]; } && plain "$name" && ! ours "$name" && say "foreign $name"
    done
    for path in "$home"/seen/*; do
        [ -f "$path" ] && say "seen ${path##*/} $(cat -- "$path")"
    done
    rows_now
    for path in "$home"/releases/*/; do
        id=${path%/}
        id=${id##*/}
        [ -f "${path}facts" ] || continue
        row_of "${id%-*}"
        state=staged
        [ "$id" != "$active" ] || state=active
        [ "$id" != "$previous" ] || state=previous
        say "release $id $state"
        while IFS= read -r fact; do say "fact $fact"; done <"${path}facts"
    done
    return 0
}

# sizes WORD DIRECTORY PATTERN: the blobs there; in parts and by short names, because a command line has an end
sizes() (
    cd -- "$2" 2>/dev/null || return 0
    for digit in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do
        stat -c "=$1 %n %s" -- "$digit"$3 2>/dev/null
    done
)

# blobs: what is here, complete and in part
do_blobs() {
    sizes complete "$home/blobs" '?/*'
    for push in "$inbox"/*/; do
        sizes complete "${push}blobs" '*'
        sizes partial "${push}new" '*'
    done
    return 0
}

# How much of a transfer is judged at a time, in bytes; each blob counts as a 256th of it on top of its own.
part=33554432

# receive ID COUNT: so many blobs. A line "DIGEST SIZE OFFSET" and the bytes of one from OFFSET on, or a line
# "tar COUNT BYTES" and a tar archive of several, where the greeting said tar. Says which were not what they are called. What has come is hashed and kept while more comes; cut off, the rest of it is left to go on from.
do_receive() {
    umask 077
    plain "$1" && number "$2" && [ "$2" -le 5000 ] || refuse 2 "no such transfer"
    scratch
    folder=$inbox/$1
    mkdir -p -- "$folder/new" "$folder/blobs" && chmod 755 -- "$inbox" "$folder" "$folder/blobs" &&
        cd -- "$folder/new" || refuse 83 "$folder cannot be made"
    left=$2 come= weight=0 judging= digest=
    while [ "$left" -gt 0 ]; do
        IFS=' ' read -r digest size offset || exit 9
        if [ "$digest" = tar ]; then
            number "$size" && number "$offset" && [ "$size" -le "$left" ] ||
                refuse 83 "the stream of blobs is garbled"
            [ "$weight" -lt "$part" ] || judge
            take_tar || refuse 63 "no room for $size blobs"
            come="$come$names" weight=$((weight + offset + size * (part / 256))) left=$((left - size)) digest=
            continue
        fi
        digest_like "$digest" && number "$size" && number "$offset" && [ "$offset" -le "$size" ] ||
            refuse 83 "the stream of blobs is garbled"
        # Not before this line is here: after a cut the last blob that came may be half a one.
        [ "$weight" -lt "$part" ] || judge
        take_blob || refuse 63 "no room for blob $digest"
        come="$come $digest" weight=$((weight + size - offset + part / 256)) left=$((left - 1))
    done
    [ -z "$digest" ] || [ "$(stat -c %s -- "$digest")" = "$size" ] || exit 9
    judge
    settle
}

# take_blob: what is missing of blob $digest, from the stream. Not with head, which reads 8 KiB at a time.
take_blob() {
    if [ "$offset" -eq 0 ]; then
        dd bs=256K count="$size" iflag=fullblock,count_bytes status=none >"$digest"
    else
        [ -f "$digest" ] || mv -f -- "$inbox"/*/new/"$digest" . 2>/dev/null
        truncate -s "$offset" -- "$digest" &&
            dd bs=256K count=$((size - offset)) iflag=fullblock,count_bytes status=none >>"$digest"
    fi
}

# take_tar: $size blobs in an archive of $offset bytes; $names are theirs. A process for each blob would be most of the
# work. dd counts: tar itself would read on, and not know a cut from a full disk.
take_tar() {
    dd bs=256K count="$offset" iflag=fullblock,count_bytes 2>"$work/moved" |
        tar -xvmf - --no-same-owner --no-same-permissions >"$work/names" 2>/dev/null
    unpacked=$? moved= names=
    while read -r amount unit rest; do [ "$unit" != bytes ] || moved=$amount; done <"$work/moved"
    [ -z "$moved" ] || [ "$moved" = "$offset" ] || exit 9
    while IFS= read -r name; do
        digest_like "$name" && [ -f "$name" ] && [ ! -L "$name" ] || refuse 83 "the stream of blobs is garbled"
        names="$names $name"
    done <"$work/names"
    return "$unpacked"
}

# judge: have what came hashed and brought to the disk, while more comes
judge() {
    settle
    judged=$come come= weight=0
    [ -n "$judged" ] || return 0
    {
        # Where there is openssl it is much faster than the sha256sum of many a system.
        openssl dgst -sha256 -r $judged >"$work/said" || sha256sum -b -- $judged >"$work/said"
        sync -f .
    } >/dev/null 2>&1 4>&- &
    judging=$!
}

# settle: keep what was judged to be what it is called, drop and say the rest
settle() {
    [ -n "$judging" ] || return 0
    wait "$judging" || refuse 63 "blobs cannot be kept in $folder"
    judging= seen= bad=
    set --
    while read -r found name; do
        name=${name#\*}
        seen="$seen $name"
        if [ "$found" = "$name" ]; then set -- "$@" "$name"; else bad="$bad $name"; fi
    done <"$work/said"
    [ "$seen" = "$judged" ] || refuse 63 "blobs cannot be hashed in $folder"
    [ $# -eq 0 ] || { chmod 644 -- "$@" && mv -f -t "$folder/blobs" -- "$@"; } ||
        refuse 63 "blobs cannot be kept in $folder"
    for name in $bad; do
        rm -f -- "$name"
        say "$name"
    done
}

# try_copy FROM TO [BYTES]: of what lies in the inbox, at most so much. In separate hands it is another's, who may put
# anything in its place while it is looked at: a link is not followed, a pipe or what acts like one is not waited for.
try_copy() {
    [ -f "$1" ] && [ ! -L "$1" ] && dd if="$1" of="$2" bs=256K ${3:+count="$3"} \
        iflag=nonblock,nofollow,fullblock,count_bytes status=none 2>/dev/null
}

# copy_in FROM TO [BYTES]: the same, or refuse
copy_in() {
    try_copy "$@" && return 0
    [ -f "$1" ] && [ ! -L "$1" ] || refuse 66 "${1##*/} is not a regular file"
    refuse 63 "no room for ${1##*/} in $home"
}

# take_files FOLDER COUNT: so many times a line "NAME SIZE" and the bytes, into a fresh FOLDER
take_files() {
    umask 077
    rm -rf -- "$1.new" && mkdir -p -- "$1.new" || refuse 83 "$1 cannot be made"
    left=$2
    while [ "$left" -gt 0 ]; do
        IFS=' ' read -r name size || exit 9
        plain "$name" && number "$size" || refuse 83 "the stream of files is garbled"
        head -c "$size" >"$1.new/$name" || refuse 63 "no room for $name"
        [ "$(stat -c %s -- "$1.new/$name")" = "$size" ] || exit 9
        left=$((left - 1))
    done
    chmod -R u=rwX,go=rX -- "$1.new" && sync -f "$1.new" && rm -rf -- "$1" && mv -T -- "$1.new" "$1" ||
        refuse 63 "$1 cannot be kept"
}

# signed ID COUNT: the signed list of a bundle, its signatures and tables
do_signed() {
    plain "$1" && number "$2" || refuse 2 "no such transfer"
    mkdir -p -- "$inbox/$1" && chmod 755 -- "$inbox" "$inbox/$1" || refuse 83 "$inbox/$1 cannot be made"
    [ "$role" != push ] || clear_out "$1"
    take_files "$inbox/$1/signed" "$2"
}

# clear_out ID: remove pushes that were admitted, but this one; the admitting login may not
clear_out() {
    for push in "$inbox"/*/; do
        push=${push%/}
        push=${push##*/}
        [ "$push" = "$1" ] || [ ! -f "$home/releases/$push/facts" ] || rm -rf -- "$inbox/$push"
    done
}

# trust VERSION COUNT: one trust document, to be looked at by take_trust
do_trust() {
    case $1 in [0-9][0-9][0-9][0-9]) ;; *) refuse 2 "no such version" ;; esac
    number "$2" || refuse 2 "no such transfer"
    mkdir -p -- "$inbox/.trust" && chmod 755 -- "$inbox" "$inbox/.trust" || refuse 83 "$inbox cannot be made"
    take_files "$inbox/.trust/$1" "$2"
}
