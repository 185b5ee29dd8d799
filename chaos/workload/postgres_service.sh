#!/bin/bash
# Runs PostgreSQL in the foreground from DIRECTORY, and makes the database there on the first start of all.
# usage: postgres_service.sh run|stop DIRECTORY
set -eu
data=$2
programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }

if [ "$1" = stop ]; then
    # SIGTERM alone would wait until the last client has gone away; SIGINT ends their sessions and writes a checkpoint.
    pid=$(head -1 "$data/postmaster.pid" 2>/dev/null || true)
    [ -n "$pid" ] && kill -INT "$pid" 2>/dev/null || exit 0
    while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
    exit 0
fi
install -d -o postgres -g postgres -m 755 /run/postgresql
if [ ! -s "$data/ready" ]; then
    rm -rf "$data"
    install -d -o postgres -g postgres -m 700 "$data"
    cd "$data"
    as_postgres "$programs/initdb" -D "$data" --auth=trust --encoding=UTF8 --locale=C >&2
    echo "host all all 0.0.0.0/0 trust" >>"$data/pg_hba.conf"
    echo yes >"$data/ready"
    sync -f "$data"
fi
cd "$data"
exec setpriv --reuid=postgres --regid=postgres --init-groups "$programs/postgres" -D "$data" -c "listen_addresses=*"
