#!/usr/bin/env bash
# A day of operations on this machine: a cluster is made, grows, is moved about, drained, upgraded
# and repaired while a client submits all the time. No submission may fail.
#
#   deploy/day-of-operations.sh [WALTZ]
#
# WALTZ is the program (target/release/waltz). It takes etcd, openssl, and about a minute.
# Everything it starts it ends, and what it writes is in one directory, which stays if it fails.
set -euo pipefail
waltz=$(realpath "${1:-target/release/waltz}")
for program in etcd openssl; do
  command -v "$program" > /dev/null || { echo "the day of operations needs $program" >&2; exit 2; }
done
day=$(mktemp -d "${TMPDIR:-/tmp}/waltz-day.XXXXXX")
mkdir "$day/load"
declare -A process address
load=''

finish() {
  local status=$?
  exec 9>&- 2> /dev/null || true
  for id in "${process[@]}" $load; do kill "$id" 2> /dev/null || true; done
  wait 2> /dev/null || true
  if [ "$status" = 0 ]; then rm -rf "$day"; else echo "FAILED; logs are in $day" >&2; fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# Times in seconds since the beginning, and how long a partition committed nothing meanwhile.
step() {
  local lines name=$1
  shift
  printf '\n== %s (%s s)\n' "$name" "$SECONDS"
  lines=0
  if [ -e "$day/load.json" ]; then lines=$(wc -l < "$day/load.json"); fi
  "$@"
  if [ "$lines" -gt 0 ]; then
    printf '   longest pause %s ms, failed %s\n' \
      "$(tail -n "+$lines" "$day/load.json" | values longest_pause_ms | sort -n | tail -1)" \
      "$(values failed < "$day/load.json" | tail -1)"
  fi
}

# The values of a key in lines of JSON.
values() { grep -o "\"$1\":[^,}]*" | cut -d: -f2- | tr -d '"'; }

admin() { "$waltz" admin "$@"; }

# --- certificates -------------------------------------------------------------------------------

authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj "/CN=$1" -keyout "$day/$1.key" -out "$day/$1.pem" 2> /dev/null
}

certificate() { # AUTHORITY NAME
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" \
    -keyout "$day/$2.key.new" -out "$day/$2.csr" 2> /dev/null
  openssl x509 -req -in "$day/$2.csr" -CA "$day/$1.pem" -CAkey "$day/$1.key" -days 2 -out \
    "$day/$2.pem.new" -extfile <(printf 'subjectAltName=DNS:%s,IP:127.0.0.1' "$2") 2> /dev/null
  mv "$day/$2.key.new" "$day/$2.key"
  mv "$day/$2.pem.new" "$day/$2.pem"
}

make_certificates() {
  authority first
  cp "$day/first.pem" "$day/ca.pem"
  for name in node operator service; do certificate first "$name"; done
}

# Both authorities are trusted while certificates change, and only the new one afterwards.
rotate_certificates() {
  authority second
  cat "$day/first.pem" "$day/second.pem" > "$day/ca.new" && mv "$day/ca.new" "$day/ca.pem"
  sleep 6 # Files are looked at every few seconds.
  for name in node operator service; do certificate second "$name"; done
  sleep 6
  cp "$day/second.pem" "$day/ca.new" && mv "$day/ca.new" "$day/ca.pem"
  sleep 6
  restart 1 # Its new connections are made with new certificates only.
  admin connectivity
}

# --- processes ----------------------------------------------------------------------------------

free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
  echo "$port"
}

start_coordinator() {
  etcd --data-dir "$day/etcd" --listen-client-urls "http://$etcd" --advertise-client-urls \
    "http://$etcd" --listen-peer-urls "http://$etcd_peers" --initial-advertise-peer-urls \
    "http://$etcd_peers" --initial-cluster "default=http://$etcd_peers" \
    >> "$day/etcd.log" 2>&1 9>&- &
  process[etcd]=$!
}

start() { # NODE [ARGUMENT...]
  local node=$1 ready="$day/node-$1.ready"
  shift
  rm -f "$ready"
  "$waltz" serve --json --node "$node" --listen "${address[$node]:-127.0.0.1:0}" \
    --data "$day/node-$node" --zone "zone-$((node % 3))" --coordinator "etcd://$etcd" \
    --tls-ca "$day/ca.pem" --tls-cert "$day/node.pem" --tls-key "$day/node.key" \
    --allow-node node --allow-admin operator --allow-writer service "$@" \
    > "$ready" 2>> "$day/node-$node.log" 9>&- &
  process[$node]=$!
  until [ -s "$ready" ]; do kill -0 "${process[$node]}"; sleep 0.05; done
  address[$node]=$(values listen < "$ready")
}

stop() { kill -TERM "${process[$1]}" && wait "${process[$1]}"; }

restart() { stop "$1" && start "$@"; }

# The operator waits until everything is well before the next node.
until_well() {
  for _ in $(seq 60); do
    if admin cluster verify > "$day/verify.log" 2>&1; then return; fi
    sleep 0.5
  done
  cat "$day/verify.log"
  return 1
}

start_load() {
  mkfifo "$day/stop"
  WALTZ_TLS_CERT="$day/service.pem" WALTZ_TLS_KEY="$day/service.key" "$waltz" demo smoke-client \
    --directory "$day/load" --client 1 --life 1 --workers 4 --pause 5ms --timeout 60s \
    < "$day/stop" > "$day/load.json" 2> "$day/load.log" &
  load=$!
  exec 9> "$day/stop"
  until [ "$(wc -l < "$day/load.json")" -gt 5 ]; do kill -0 "$load"; sleep 0.1; done
}

# --- the day ------------------------------------------------------------------------------------

create() {
  for node in 1 2 3; do start "$node"; done
  export WALTZ_SERVER="${address[1]},${address[2]},${address[3]}"
  for node in 1 2 3; do admin storage add "$node"; done # It waits until the node has registered.
  admin cluster create --partitions 6 --replicas 3
  until_well
}

add_nodes() {
  for node in 4 5; do
    start "$node"
    admin storage add "$node" --rebalance
  done
  until_well
}

move() {
  admin partition assign --partition 0-1 --set 1,4,5
  admin partition assign --partition all --auto
  until_well
}

drain() {
  admin server drain 2
  admin storage drain 2 --parallel 2
  restart 2 # The maintenance that it was for.
  admin storage drain 2 --undo
  admin server drain 2 --undo
  admin storage add 2 --rebalance
  until_well
}

replace_wiped() {
  kill -KILL "${process[3]}"
  wait "${process[3]}" || true
  rm -rf "$day/node-3"
  start 3
  admin storage replace 3 --yes
  until_well
}

roll_version() {
  local version=$1
  for node in 1 2 3 4 5; do
    restart "$node" ${version:+--protocol-version "$version"}
    until_well
  done
}

trim() {
  local last
  last=$(admin partition list --partition 0 --json | values hwm | head -1)
  admin partition trim --partition 0 --to $((last / 2)) --yes
}

lose_coordinator() {
  kill -KILL "${process[etcd]}"
  wait "${process[etcd]}" || true
  rm -rf "$day/etcd"
  start_coordinator
  for _ in $(seq 60); do
    if admin cluster restore --yes; then break; fi
    sleep 0.5 # Nodes have to find it, and to register.
  done
  until_well
}

end_load() {
  exec 9>&-
  wait "$load"
  load=''
  [ "$(values finished < "$day/load.json" | tail -1)" = true ]
  [ "$(values failed < "$day/load.json" | tail -1)" = 0 ]
}

etcd="127.0.0.1:$(free_port)"
etcd_peers="127.0.0.1:$(free_port)"
make_certificates
export WALTZ_TLS_CA="$day/ca.pem" WALTZ_TLS_CERT="$day/operator.pem" WALTZ_TLS_KEY="$day/operator.key"
start_coordinator
step 'create a cluster' create
step 'put it to work' start_load
step 'add two nodes' add_nodes
step 'move replicas' move
step 'drain a node, and take it back' drain
step 'replace a node that lost its disk' replace_wiped
step 'rotate certificates and their authority' rotate_certificates
step 'roll back to the former version of the protocol' roll_version 2
step 'roll forward again' roll_version ''
step 'trim a log' trim
step 'recover from a lost coordinator' lose_coordinator
step 'end the work: every submission is committed' end_load
admin cluster verify
printf '\n%s submissions committed, none failed; longest pause %s ms\n' \
  "$(values written < "$day/load.json" | tail -1)" \
  "$(values longest_pause_ms < "$day/load.json" | sort -n | tail -1)"
