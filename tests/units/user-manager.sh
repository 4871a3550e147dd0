#!/bin/bash
# A real `systemd --user` of an ordinary user, in namespaces and a cgroup of its own, until stdin ends.
#
#   user-manager.sh UID WORK CGROUP [FOLDER…]      as root; says "ready" once the manager takes commands
#
# WORK is an empty folder that everyone may enter: the user's home (WORK/home), what the manager says
# (WORK/said). CGROUP is a cgroup2 folder made for this. FOLDERs are shown to the user where they are,
# whatever their parents' modes: the Python that root installed below its own home, say. Everything
# is private to the namespaces, and ends with them.
set -eu

if [ "$1" != inside ]; then
  # Joined first: the cgroup namespace begins where its first process is.
  echo $$ > "$3/cgroup.procs"
  exec unshare --mount --propagation private --cgroup --pid --fork --kill-child=KILL --ipc --uts --mount-proc \
    -- /bin/bash "$0" inside "$@"
fi
shift
uid=$1 work=$2 home=$2/home
shift 3

show() { # FOLDER…: hidden parents are covered by an empty folder in which only these are
  local folder hidden n=0
  for folder; do
    n=$((n + 1)) && mkdir -p "$work/shown/$n" && mount --bind "$folder" "$work/shown/$n"
  done
  for folder; do
    while hidden=$(first_hidden "$folder"); do
      mount -t tmpfs -o mode=755 tmpfs "$hidden"
    done
  done
  n=0
  for folder; do
    n=$((n + 1)) && mkdir -p "$folder" && mount --bind "$work/shown/$n" "$folder"
  done
}

first_hidden() { # FOLDER: the outermost of its parents that the user may not pass
  local path='' name names
  IFS=/ read -ra names <<< "${1#/}"
  for name in "${names[@]}"; do
    path=$path/$name
    [ -d "$path" ] || return 1
    setpriv --reuid "$uid" --regid "$uid" --clear-groups test -x "$path" || { echo "$path"; return; }
  done
  return 1
}

# The cgroups as seen from here, and a part of them that the user may divide further.
umount -R /sys/fs/cgroup 2>/dev/null || umount -Rl /sys/fs/cgroup
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup 2>/dev/null || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/user && chown -R "$uid:$uid" /sys/fs/cgroup/user

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/{system,unit-root,propagate} /run/lock "/run/user/$uid"
chmod 0 /run/systemd/unit-root
chown "$uid:$uid" "/run/user/$uid" && chmod 700 "/run/user/$uid"
mount -t tmpfs -o mode=1777 tmpfs /dev/shm

mkdir -p "$home/.config/systemd/user" && chown -R "$uid:$uid" "$home"
grep -v ":$uid:$uid:" /etc/passwd > "$work/passwd"
echo "tester:x:$uid:$uid::$home:/bin/bash" >> "$work/passwd"
mount --bind "$work/passwd" /etc/passwd
show "$@"

(
  echo "$BASHPID" > /sys/fs/cgroup/user/cgroup.procs
  # shellcheck disable=SC2016
  exec unshare --cgroup --mount bash -euc '
    umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec setpriv --reuid "$0" --regid "$0" --clear-groups --inh-caps=-all --reset-env env -C "$1" \
      HOME="$1" USER=tester LOGNAME=tester SHELL=/bin/bash PATH=/usr/local/bin:/usr/bin:/bin \
      XDG_RUNTIME_DIR="/run/user/$0" SYSTEMD_COLORS=0 \
      /usr/lib/systemd/systemd --user --unit=basic.target --log-target=console --log-level=info
  ' "$uid" "$home"
) < /dev/null > "$work/said" 2>&1 &

for _ in $(seq 200); do
  [ -S "/run/user/$uid/systemd/private" ] && break
  kill -0 $! 2>/dev/null || { cat "$work/said" >&2; exit 1; }
  sleep .02
done
echo ready
read -r _ || true # the end of stdin; with us, the first process here, all the others end
