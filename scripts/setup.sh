# shellcheck shell=sh
# Sourced from the repository root by the other scripts. Leaves tox in .venv, and on Debian and its
# relatives installs the system packages that are missing: Python, git, and what Qt and its tests need.
# PYTHON=/path/to/python chooses the Python.

setup_say() { printf 'setup: %s\n' "$*" >&2; }

# Prints the first Python that is new enough.
setup_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

# Prints the packages without which nothing works.
setup_missing_base() {
    setup_found=$(setup_python)
    if [ -z "$setup_found" ]; then
        command -v python3 >/dev/null 2>&1 || printf 'python3 python3-venv '
    elif ! "$setup_found" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        "$setup_found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2], end=" ")'
    fi
    command -v git >/dev/null 2>&1 || printf 'git '
    [ -n "${SSL_CERT_FILE:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || printf 'ca-certificates '
}

# Prints the packages that only Qt and its tests need.
setup_missing_qt() {
    command -v Xvfb >/dev/null 2>&1 || printf 'xvfb '
    setup_libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null)
    while read -r library package; do
        case $setup_libraries in
            *"$library "*) ;;
            *) printf '%s ' "$package" ;;
        esac
    done <<LIBRARIES
libEGL.so.1 libegl1
libGL.so.1 libgl1
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-util.so.1 libxcb-util1
libxcb-xinerama.so.0 libxcb-xinerama0
libxcb-xkb.so.1 libxcb-xkb1
libxkbcommon-x11.so.0 libxkbcommon-x11-0
LIBRARIES
}

# Installs the packages named, where that is possible without a question.
setup_apt() {
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" -eq 0 ]; then
        setup_root='env'
    elif sudo -n true >/dev/null 2>&1; then
        setup_root='sudo -n env'
    else
        return 1
    fi
    setup_say "installing $*"
    $setup_root DEBIAN_FRONTEND=noninteractive apt-get update -q >&2 &&
        $setup_root DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" >&2
}

setup_system() {
    [ "$(uname -s)" = Linux ] || return 0
    setup_wanted="$(setup_missing_base)$(setup_missing_qt)"
    [ -n "$setup_wanted" ] || return 0
    # shellcheck disable=SC2086
    setup_apt $setup_wanted || setup_say "please install these packages (Debian's names): $setup_wanted"
}

setup_venv() {
    setup_found=$(setup_python)
    if [ -z "$setup_found" ]; then
        setup_say 'Python 3.11 or newer is needed; install one, or name it: PYTHON=/path/to/python3'
        return 1
    fi
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        if ! "$setup_found" -m venv --clear .venv; then
            setup_say "$setup_found cannot make a virtual environment; on Debian, python3-venv is missing"
            return 1
        fi
    fi
    .venv/bin/python -c 'import tox, tox_uv' >/dev/null 2>&1 && return
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip
    .venv/bin/python -m pip install --quiet --disable-pip-version-check 'tox>=4.20' tox-uv
}

setup_system
setup_venv
