-- The index: a cache of the ledger, version 4. May be deleted at any time; `user_version` is the schema's version.
-- Times are microseconds since the Unix epoch, UTC. Identifiers are 16-byte UUIDs, objects 32-byte SHA-256 digests.
-- Cameras and epochs have short numbers here, in the order in which the ledger first names them: a million clips repeat them.

CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    -- 'position': ledger entries taken in so far. 'clock': the last time somebody vouches for, see clip.doubtful.
    -- 'policy': SHA-256 of the retention policy in force. 'vaultFile': SHA-256 of vault.json as last entered.
    -- 'recipients': the same, as the last change of the recipients left it; 'removal': the ledger entry that last took one away.
    -- 'rebuilt': of a ledger begun anew, from when to when and up to which entry its clips' times are believed.
    value NOT NULL
) WITHOUT ROWID;

CREATE TABLE camera (
    number INTEGER PRIMARY KEY NOT NULL,
    uuid BLOB UNIQUE NOT NULL,
    -- What it has, so that budgets cost no scan; follows clip.
    bytes INTEGER NOT NULL DEFAULT 0,
    doubtful_bytes INTEGER NOT NULL DEFAULT 0,
    clips INTEGER NOT NULL DEFAULT 0,
    -- The highest sequence number ever, also of clips that are gone.
    sequence INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE epoch (
    number INTEGER PRIMARY KEY NOT NULL,
    uuid BLOB UNIQUE NOT NULL,
    -- NULL, like all until `shredded`: a clip names it, but the ledger does not describe it.
    camera INTEGER,
    day INTEGER,
    recipient TEXT,
    file BLOB,
    shredded INTEGER NOT NULL DEFAULT 0,
    -- Clips that are sealed to it and still there.
    clips INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX epoch_by_day ON epoch (camera, day);

CREATE TABLE clip (
    -- The ledger entry it came from: clips that were recorded together lie together.
    entry INTEGER PRIMARY KEY NOT NULL,
    object BLOB NOT NULL,
    camera INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    run BLOB NOT NULL,
    seq INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    -- 0 continuous, 1 motion, 2 event, 3 labelled.
    kind INTEGER NOT NULL,
    salvaged INTEGER NOT NULL,
    -- 1: its times cannot be; kept, not listed, reported by verify; always doubtful too.
    implausible INTEGER NOT NULL,
    -- 1: recorded while the wall clock was far from where anybody vouches for it; retention by age leaves it alone.
    doubtful INTEGER NOT NULL,
    -- 1: its copy on this disk was given up because a remote has it; deleting it would free nothing here.
    evicted INTEGER NOT NULL DEFAULT 0
);
-- Eight bytes tell objects apart well enough to look at one row: `substr(object, 1, 8) = … AND object = …`.
CREATE INDEX clip_by_object ON clip (substr(object, 1, 8));
CREATE INDEX clip_by_time ON clip (camera, start, "end") WHERE implausible = 0;
CREATE INDEX clip_of_kind ON clip (camera, start) WHERE kind > 0;
CREATE INDEX clip_doubtful ON clip (camera, start) WHERE doubtful = 1;

CREATE TABLE gap (
    -- The ledger entry it came from.
    entry INTEGER PRIMARY KEY NOT NULL,
    camera INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX gap_by_time ON gap (camera, start, "end");

-- Something noticed in a camera's footage; a later ledger entry of the same event makes it longer.
CREATE TABLE event (
    event BLOB PRIMARY KEY NOT NULL,
    camera INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    label TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX event_by_time ON event (camera, start, "end");

-- Objects the ledger says are gone, so that an interrupted removal is finished and not taken for a find.
CREATE TABLE deleted (
    object BLOB PRIMARY KEY NOT NULL,
    -- 1: its file may still be there.
    pending INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX deleted_pending ON deleted (object) WHERE pending = 1;

CREATE TABLE hold (
    hold BLOB PRIMARY KEY NOT NULL,
    -- NULL: every camera.
    camera BLOB,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    note BLOB
) WITHOUT ROWID;

-- How epoch files are sealed, of those made or sealed anew since the recipients first changed.
CREATE TABLE sealing (
    epoch BLOB PRIMARY KEY NOT NULL,
    -- SHA-256 of the epoch's file.
    file BLOB NOT NULL,
    -- SHA-256 of the vault.json whose recipients it is sealed to: another one than meta's 'recipients' is out of date.
    recipients BLOB NOT NULL,
    -- The ledger entry that made the epoch; 0 for those made before the first change.
    made INTEGER NOT NULL
) WITHOUT ROWID;
