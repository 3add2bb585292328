# Sourced, never run: `. bin/activate` in bash, zsh, ksh; a plain sh cannot say where a sourced file lies and uses
# the path that the venv was made for.

deactivate () {
    if [ -n "${_OLD_VIRTUAL_PATH+x}" ]; then
        PATH="$_OLD_VIRTUAL_PATH"
        export PATH
        unset _OLD_VIRTUAL_PATH
    fi
    if [ -n "${_OLD_VIRTUAL_PYTHONHOME+x}" ]; then
        PYTHONHOME="$_OLD_VIRTUAL_PYTHONHOME"
        export PYTHONHOME
        unset _OLD_VIRTUAL_PYTHONHOME
    fi
    if [ -n "${_OLD_VIRTUAL_PS1+x}" ]; then
        PS1="$_OLD_VIRTUAL_PS1"
        unset _OLD_VIRTUAL_PS1
    fi
    hash -r 2>/dev/null || true
    unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    if [ "${1-}" != nondestructive ]; then
        unset -f deactivate
    fi
}

deactivate nondestructive

if [ -n "${BASH_VERSION-}" ]; then
    eval '_virtual_script="${BASH_SOURCE[0]}"'
elif [ -n "${ZSH_VERSION-}" ]; then
    eval '_virtual_script="${(%):-%x}"'
elif [ -n "${KSH_VERSION-}" ]; then
    eval '_virtual_script="${.sh.file}"'
else
    _virtual_script=@install_path@/bin/activate
fi
VIRTUAL_ENV="$(dirname -- "$(dirname -- "$(realpath -- "$_virtual_script")")")"
VIRTUAL_ENV_PROMPT=@prompt@
export VIRTUAL_ENV VIRTUAL_ENV_PROMPT
unset _virtual_script

_OLD_VIRTUAL_PATH="$PATH"
PATH="$VIRTUAL_ENV/bin:$PATH"
export PATH
if [ -n "${PYTHONHOME+x}" ]; then
    _OLD_VIRTUAL_PYTHONHOME="$PYTHONHOME"
    unset PYTHONHOME
fi
if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT-}" ]; then
    _OLD_VIRTUAL_PS1="${PS1-}"
    PS1="($VIRTUAL_ENV_PROMPT) ${PS1-}"
fi
hash -r 2>/dev/null || true
