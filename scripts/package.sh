#!/bin/sh
# Makes what others install, and prints the path of each:
#
#   aloud_VERSION_ARCH.deb             for Debian 12 and newer, and what is made from it: Ubuntu, Raspberry Pi OS
#   aloud-VERSION-ARCH.tar.gz          the static file and all that goes with it, for any Linux
#   aloud-VERSION-ARCH.image.tar.gz    the root of a container of that file alone, as scripts/Dockerfile makes it
#
#   scripts/package.sh [ARCH...] [CARGO FLAGS]
#
# ARCH is amd64, arm64 or armhf (armv7); all three unless you say so. The head of scripts/build-static.sh says what each
# takes. CARGO FLAGS take the place of `--features store`. All come into target/packages. Each commit makes the same bytes
# again. DEBFULLNAME and DEBEMAIL say who answers for the packages.
set -eu
cd "$(dirname "$0")/.."

archs=''
while [ $# -gt 0 ]; do
    case $1 in -*) break ;; esac
    archs="$archs $1" && shift
done
archs=${archs:-amd64 arm64 armhf}
[ $# -gt 0 ] || set -- --features store

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
maintainer="${DEBFULLNAME:-aloud} <${DEBEMAIL:-root@localhost}>"
# The moment of the commit, or of the sources, which all files get.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH
umask 022

out=${CARGO_TARGET_DIR:-target}/packages
mkdir -p "$out"
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# Puts a file somewhere, with its permissions: `put FROM TO [MODE]`.
put() { install -D -m "${3:-644}" "$1" "$2"; }

# A text without what a package does by itself, and with the names of what it installs.
as_packaged() {
    sed -e '/^#   cp /d' -e 's|/usr/local/bin|/usr/bin|g' -e 's/\bbeat\.sh\b/aloud-beat/g' -e 's/\bhear\.sh\b/aloud-hear/g' "$1"
}

# Without what this binary was built without.
settings() {
    case $* in *redis*) cat scripts/deb/aloud.env ;; *) sed '/^# .*(--redis)/,/^#ALOUD_REDIS/d' scripts/deb/aloud.env ;; esac
}

# The page of a script is what its --help says: `page NAME WHAT`.
page() {
    printf '.TH %s 1 "" "aloud %s" "User commands"\n.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n.EX\n' \
        "$(echo "$1" | tr '[:lower:]' '[:upper:]')" "$version" "$1" "$2"
    "$folder/root/usr/bin/$1" --help | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^[.']/\\\\\&&/" -e "s/'/\\\\(aq/g"
    printf '.EE\n.SH "SEE ALSO"\n.BR aloud (1)\n'
}

# tar, so that it makes the same bytes again; `archive OWNER FLAGS...`.
archive() {
    owner=$1 && shift
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner="$owner" --group="$owner" --numeric-owner "$@"
}

deb() {
    root=$folder/root
    rm -rf "$root"
    put "$file" "$root/usr/bin/aloud" 755
    for script in beat hear; do
        as_packaged "scripts/$script.sh" >"$folder/script"
        put "$folder/script" "$root/usr/bin/aloud-$script" 755
    done
    for unit in scripts/systemd/*; do
        as_packaged "$unit" >"$folder/unit"
        put "$folder/unit" "$root/usr/lib/systemd/system/${unit##*/}"
    done
    settings "$@" >"$folder/settings"
    put "$folder/settings" "$root/etc/aloud.env" 640 # it may hold tokens

    manual=$root/usr/share/man/man1
    put scripts/man/aloud.1 "$manual/aloud.1"
    page aloud-beat 'tell an aloud server that this machine lives' >"$manual/aloud-beat.1"
    page aloud-hear 'run a command for each message of an aloud server' >"$manual/aloud-hear.1"
    gzip -9n "$manual"/*
    put scripts/man/aloud.bash "$root/usr/share/bash-completion/completions/aloud"
    put scripts/man/_aloud "$root/usr/share/zsh/vendor-completions/_aloud"
    put scripts/man/aloud.fish "$root/usr/share/fish/vendor_completions.d/aloud.fish"

    put scripts/deb/overrides "$root/usr/share/lintian/overrides/aloud"

    doc=$root/usr/share/doc/aloud
    mkdir -p "$doc"
    { cat scripts/deb/copyright && sed -e 's/^$/./' -e 's/^/ /' LICENSE; } >"$doc/copyright"
    sed -e 's/\]\[[a-z]*\]/]/g' -e '/^\[[a-z]*\]: /d' src/manual/changes.md >"$doc/changes.md"
    date=$(date -Ru -d "@$SOURCE_DATE_EPOCH")
    printf 'aloud (%s) unstable; urgency=medium\n\n  * changes.md, beside this file, has what an upgrade asks for.\n\n -- %s  %s\n' \
        "$version" "$maintainer" "$date" | gzip -9n >"$doc/changelog.gz"

    mkdir "$root/DEBIAN"
    size=$(du -sk --apparent-size "$root" | cut -f1)
    sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" -e "s/@MAINTAINER@/$maintainer/" \
        scripts/deb/control >"$root/DEBIAN/control"
    echo /etc/aloud.env >"$root/DEBIAN/conffiles"
    for script in postinst prerm postrm; do put "scripts/deb/$script" "$root/DEBIAN/$script" 755; done
    (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$out/aloud_${version}_$arch.deb" >/dev/null
    echo "$out/aloud_${version}_$arch.deb"
}

tarball() {
    name=aloud-$version-$arch
    put "$file" "$folder/$name/aloud" 755
    cp -r README.md LICENSE "$folder/$name/"
    mkdir "$folder/$name/scripts"
    cp -r scripts/beat.sh scripts/hear.sh scripts/systemd scripts/man "$folder/$name/scripts/"
    rm "$folder/$name"/scripts/man/*.in
    settings "$@" >"$folder/$name/scripts/aloud.env"
    archive 0 -C "$folder" -c "$name" | gzip -9n >"$out/$name.tar.gz"
    echo "$out/$name.tar.gz"
}

# The folder for the store belongs to the user as which scripts/Dockerfile has it run.
image() {
    name=$out/aloud-$version-$arch.image.tar.gz
    root=$folder/image-$arch
    put "$file" "$root/aloud" 755
    mkdir -p "$root/var/lib/aloud"
    archive 0 -C "$root" --no-recursion -cf "$folder/image.tar" aloud var var/lib
    archive 65534 -C "$root" --no-recursion -rf "$folder/image.tar" var/lib/aloud
    gzip -9n <"$folder/image.tar" >"$name"
    echo "$name"
}

for arch in $archs; do
    case $arch in
    amd64) target=x86_64-unknown-linux-gnu ;;
    arm64) target=aarch64-unknown-linux-gnu ;;
    armhf) target=armv7-unknown-linux-gnueabihf ;;
    *) echo "$0: no package is known for $arch; give amd64, arm64 or armhf" >&2 && exit 2 ;;
    esac
    file=$(scripts/build-static.sh "$target" "$@")
    deb "$@"
    tarball "$@"
    image
done
