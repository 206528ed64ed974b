-- The index: a cache of the ledger, version 1. May be deleted at any time; `user_version` is the schema's version.
-- Times are microseconds since the Unix epoch, UTC. Identifiers are 16-byte UUIDs, objects 32-byte SHA-256 digests.

CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    -- 'position': ledger entries taken in so far.
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE clip (
    object BLOB PRIMARY KEY NOT NULL,
    camera BLOB NOT NULL,
    epoch BLOB NOT NULL,
    run BLOB NOT NULL,
    seq INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    kind TEXT NOT NULL,
    salvaged INTEGER NOT NULL,
    -- 1: its times cannot be; kept, not listed, reported by verify.
    implausible INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX clip_by_time ON clip (camera, start, "end") WHERE implausible = 0;
CREATE INDEX clip_by_sequence ON clip (camera, seq);

CREATE TABLE gap (
    camera BLOB NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    reason TEXT NOT NULL,
    -- The ledger entry it came from.
    entry INTEGER PRIMARY KEY NOT NULL
);
CREATE INDEX gap_by_time ON gap (camera, start, "end");

CREATE TABLE epoch (
    epoch BLOB PRIMARY KEY NOT NULL,
    camera BLOB NOT NULL,
    day INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    file BLOB NOT NULL,
    shredded INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX epoch_by_day ON epoch (camera, day);

-- Objects the ledger says are gone, so that an interrupted removal is finished and not taken for a find.
CREATE TABLE deleted (
    object BLOB PRIMARY KEY NOT NULL
) WITHOUT ROWID;
