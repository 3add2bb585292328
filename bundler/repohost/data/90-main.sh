# What to do: what an administrator asked for by hand, or converse.
if [ -n "$first_trust" ]; then
    exec 4>&2
    (
        trap leave EXIT
        current_trust
        [ -z "$trust" ] || refuse 75 "this host has trust $version already"
        install_trust 0001 "$first_trust" "$first_digest"
    )
    exit $?
fi
converse
