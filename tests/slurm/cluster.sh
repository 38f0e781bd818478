#!/usr/bin/env bash
# A real SLURM cluster on this one machine, for the tests: munge, accounting, a controller and four
# nodes (c1, c2 in partition cpu, g1, g2 in partition gpu), from Debian's packages, without systemd.
#
#   cluster.sh with COMMAND  install it when it is not there, start it, run the command, take it down;
#                            where there can be no cluster, run the command alone
#   cluster.sh why           say why there can be no cluster here; nothing when there can
#   cluster.sh up            start it afresh
#   cluster.sh crash NODE    end a node as a power cut would: its daemon and all its jobs
#   cluster.sh start NODE    bring it back
#   cluster.sh down          stop everything and remove its state
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
RUN=/tmp/galaxymill-slurm # short: sockets lie in it
ETC=/etc/slurm # nowhere else: Snakemake takes SLURM_CONF from what runs inside a job
NODES=(c1 c2 g1 g2)
CONFS=(slurm gres slurmdbd)
PACKAGES=(munge slurmctld slurmd slurm-client slurmdbd mariadb-server)
# Daemons hand their environment on to every job: a small and clean one.
CLEAN=(env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
  MYSQL_UNIX_PORT="$RUN/mysql/socket")

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing() { for package in "${PACKAGES[@]}"; do installed "$package" || echo "$package"; done; }

why() {
  if [ "$(id -u)" != 0 ]; then
    echo "the test cluster needs root: its daemons start jobs as users"
  elif ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "the test cluster is installed by apt, which is not here"
  elif [ -e "$ETC/slurm.conf" ] && [ ! -L "$ETC/slurm.conf" ]; then
    echo "this machine belongs to a cluster: $ETC/slurm.conf is not replaced"
  fi
}

install_packages() {
  local wanted
  mapfile -t wanted < <(missing)
  [ ${#wanted[@]} = 0 ] && return
  # The packages' own services must not start.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${wanted[@]}"
}

# Whether a process runs; one that nobody has reaped yet does not.
running() { grep -qs '^State:[[:space:]][^ZX]' "/proc/$1/status"; }

ended() { ! running "$1"; }

# Whether the process of a pid file runs, and is not another that has its number by now.
alive() {
  local pid
  pid=$(cat "$RUN/pid/$1.pid" 2>/dev/null) || return 1
  running "$pid" && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "${1%%.*}"* ]]
}

wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "cluster.sh: waited in vain for: $*" >&2 && return 1; }
    sleep 0.1
  done
}

stop() {
  alive "$1" || return 0
  local pid
  pid=$(cat "$RUN/pid/$1.pid")
  kill "$pid"
  wait_for 10 ended "$pid" || kill -9 "$pid"
}

configure() {
  local host conf
  host=$(hostname -s)
  mkdir -p "$RUN"/{munge,log,pid,state,mysql,etc} "${NODES[@]/#/$RUN/spool/}" "$ETC"
  chmod 700 "$RUN/state" "$RUN/mysql"
  getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
  for conf in "${CONFS[@]}"; do
    sed "s#@RUN@#$RUN#g; s#@HOST@#$host#g" "$HERE/conf/$conf.conf.in" >"$RUN/etc/$conf.conf"
    ln -sfn "$RUN/etc/$conf.conf" "$ETC/$conf.conf"
  done
  chmod 600 "$RUN/etc/slurmdbd.conf"
}

start_munge() {
  (umask 077 && head -c 128 /dev/urandom >"$RUN/munge/key")
  "${CLEAN[@]}" munged --force --key-file="$RUN/munge/key" --socket="$RUN/munge/socket" \
    --pid-file="$RUN/pid/munged.pid" --log-file="$RUN/log/munged.log" --seed-file="$RUN/munge/seed"
  wait_for 10 munge --socket="$RUN/munge/socket" --no-input
}

sql() { mariadb --no-defaults --socket="$RUN/mysql/socket" --user=root --execute="$1"; }

start_accounting() {
  "${CLEAN[@]}" mariadb-install-db --no-defaults --user=root --datadir="$RUN/mysql/data" \
    --skip-test-db --auth-root-authentication-method=normal >"$RUN/log/mariadb-install.log" 2>&1
  setsid "${CLEAN[@]}" mariadbd --no-defaults --user=root --datadir="$RUN/mysql/data" \
    --socket="$RUN/mysql/socket" --pid-file="$RUN/pid/mariadbd.pid" --skip-networking \
    --log-error="$RUN/log/mariadbd.log" --innodb-flush-log-at-trx-commit=0 \
    </dev/null >/dev/null 2>&1 &
  wait_for 60 sql "select 1"
  sql "create database slurm_acct_db; create user slurm@localhost identified by 'slurm';
    grant all on slurm_acct_db.* to slurm@localhost"
  (cd / && "${CLEAN[@]}" slurmdbd)
  wait_for 60 sacctmgr -n show cluster
  sacctmgr -i add cluster test >/dev/null
  sacctmgr -i add account test >/dev/null
  sacctmgr -i add user root account=test defaultaccount=test >/dev/null
}

start_node() {
  alive "slurmd.$1" || (cd / && "${CLEAN[@]}" slurmd -N "$1" -f "$ETC/slurm.conf")
}

all_idle() { [ "$(sinfo --noheader --Node --format='%N %t' | grep -c ' idle$')" = ${#NODES[@]} ]; }

up() {
  down
  configure
  start_munge
  start_accounting
  (cd / && "${CLEAN[@]}" slurmctld -f "$ETC/slurm.conf")
  wait_for 60 scontrol ping
  for node in "${NODES[@]}"; do start_node "$node"; done
  wait_for 60 all_idle || { sinfo --Node --long && tail -n 20 "$RUN"/log/*.log && exit 1; }
}

# The processes of a node's jobs, and the daemons above them.
job_processes() {
  local pid parent
  for pid in $(grep -lzsx "SLURMD_NODENAME=$1" /proc/[0-9]*/environ | cut -d/ -f3); do
    echo "$pid"
    parent=$(awk '/^PPid:/ {print $2}' "/proc/$pid/status" 2>/dev/null) || continue
    if [ "$(cat "/proc/$parent/comm" 2>/dev/null)" = slurmstepd ]; then echo "$parent"; fi
  done | sort -un
}

crash() {
  if alive "slurmd.$1"; then kill -9 "$(cat "$RUN/pid/slurmd.$1.pid")"; fi
  # Twice, for those that were being born.
  for _ in 1 2; do job_processes "$1" | xargs -r kill -9 2>/dev/null || true; done
}

no_jobs() { [ -z "$(timeout 5 squeue --noheader)" ]; }

down() {
  if alive slurmctld; then
    timeout 10 scancel --quiet --user root || true
    wait_for 10 no_jobs || true
  fi
  # The controller first: it would wait for the nodes' answers.
  local daemon conf
  for daemon in slurmctld "${NODES[@]/#/slurmd.}" slurmdbd mariadbd munged; do stop "$daemon"; done
  for conf in "${CONFS[@]}"; do
    if [ "$(readlink "$ETC/$conf.conf")" = "$RUN/etc/$conf.conf" ]; then rm "$ETC/$conf.conf"; fi
  done
  rm -rf "$RUN"
}

with() {
  if [ -z "$(why)" ]; then
    (install_packages)
    trap down EXIT
    up
  fi
  "$@"
}

case "${1:-}" in
  why | up | down) "$1" ;;
  with) "$@" ;;
  crash) crash "$2" ;;
  start) start_node "$2" ;;
  *) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
