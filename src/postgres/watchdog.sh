#!/bin/sh
# Stands between confirmd and its Postgres, so that the server never outlives confirmd. confirmd holds the other end of
# our stdin and writes nothing to it: when confirmd ends, however it ends, we come to the end of stdin and stop the server.
#
# $1 pg_ctl   $2 the cluster   $3 the log   $4 the server's settings
# stdin: a socket, on which confirmd also reads `ready` or `failed`   stdout: tells the sweeper that we live
# stderr: the lock on the cluster

# The cluster is ours for as long as 3 is open. The server must not inherit it: if we are killed, the next run takes
# the cluster over and restarts what we left.
exec 3>&2 2>>"$3"

# A signal to everyone must not end us before the server has ended.
trap '' HUP INT TERM PIPE

if "$1" start --silent --wait --timeout=60 -D "$2" -l "$3" -o "$4" </dev/null >/dev/null 3>&-; then
  echo ready >&0
  read -r _
else
  echo failed >&0
fi

running() { "$1" status -D "$2" >/dev/null 2>&1; }
if running "$@"; then
  "$1" stop --silent --mode=fast --timeout=20 -D "$2" || "$1" stop --silent --mode=immediate --timeout=10 -D "$2"
fi
! running "$@"
