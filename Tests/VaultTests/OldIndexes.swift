/// Index schemas of earlier versions, as they were, each with a row that no ledger has: an upgrade that took rows over instead of
/// making them anew would show it.
enum OldIndexes {
    static let all: [(version: Int, sql: String)] = [(1, one), (2, two), (3, three)]

    static let one = #"""
        CREATE TABLE meta (
            key TEXT PRIMARY KEY NOT NULL,
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
            implausible INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX clip_by_time ON clip (camera, start, "end") WHERE implausible = 0;
        CREATE INDEX clip_by_sequence ON clip (camera, seq);
        CREATE TABLE gap (
            camera BLOB NOT NULL,
            start INTEGER NOT NULL,
            "end" INTEGER NOT NULL,
            reason TEXT NOT NULL,
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
        INSERT INTO meta VALUES ('position', 7);
        INSERT INTO gap VALUES (x'00112233445566778899aabbccddeeff', 1, 2, 'paused', 3);
        """#

    static let two = #"""
        CREATE TABLE meta (
            key TEXT PRIMARY KEY NOT NULL,
            value NOT NULL
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
            implausible INTEGER NOT NULL,
            doubtful INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX clip_by_time ON clip (camera, start, "end") WHERE implausible = 0;
        CREATE INDEX clip_doubtful ON clip (camera, start) WHERE doubtful = 1;
        CREATE TABLE usage (
            camera BLOB PRIMARY KEY NOT NULL,
            bytes INTEGER NOT NULL,
            doubtful_bytes INTEGER NOT NULL,
            clips INTEGER NOT NULL,
            sequence INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE gap (
            camera BLOB NOT NULL,
            start INTEGER NOT NULL,
            "end" INTEGER NOT NULL,
            reason TEXT NOT NULL,
            entry INTEGER PRIMARY KEY NOT NULL
        );
        CREATE INDEX gap_by_time ON gap (camera, start, "end");
        CREATE TABLE epoch (
            epoch BLOB PRIMARY KEY NOT NULL,
            camera BLOB NOT NULL,
            day INTEGER NOT NULL,
            recipient TEXT NOT NULL,
            file BLOB NOT NULL,
            shredded INTEGER NOT NULL DEFAULT 0,
            clips INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID;
        CREATE INDEX epoch_by_day ON epoch (camera, day);
        CREATE TABLE deleted (
            object BLOB PRIMARY KEY NOT NULL,
            pending INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX deleted_pending ON deleted (object) WHERE pending = 1;
        CREATE TABLE hold (
            hold BLOB PRIMARY KEY NOT NULL,
            camera BLOB,
            start INTEGER NOT NULL,
            "end" INTEGER NOT NULL,
            note BLOB
        ) WITHOUT ROWID;
        INSERT INTO meta VALUES ('position', 7);
        INSERT INTO gap VALUES (x'00112233445566778899aabbccddeeff', 1, 2, 'paused', 3);
        """#

    static let three = #"""
        CREATE TABLE meta (
            key TEXT PRIMARY KEY NOT NULL,
            value NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE camera (
            number INTEGER PRIMARY KEY NOT NULL,
            uuid BLOB UNIQUE NOT NULL,
            bytes INTEGER NOT NULL DEFAULT 0,
            doubtful_bytes INTEGER NOT NULL DEFAULT 0,
            clips INTEGER NOT NULL DEFAULT 0,
            sequence INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE epoch (
            number INTEGER PRIMARY KEY NOT NULL,
            uuid BLOB UNIQUE NOT NULL,
            camera INTEGER,
            day INTEGER,
            recipient TEXT,
            file BLOB,
            shredded INTEGER NOT NULL DEFAULT 0,
            clips INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX epoch_by_day ON epoch (camera, day);
        CREATE TABLE clip (
            entry INTEGER PRIMARY KEY NOT NULL,
            object BLOB NOT NULL,
            camera INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            run BLOB NOT NULL,
            seq INTEGER NOT NULL,
            start INTEGER NOT NULL,
            "end" INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            salvaged INTEGER NOT NULL,
            implausible INTEGER NOT NULL,
            doubtful INTEGER NOT NULL,
            evicted INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX clip_by_object ON clip (substr(object, 1, 8));
        CREATE INDEX clip_by_time ON clip (camera, start, "end") WHERE implausible = 0;
        CREATE INDEX clip_of_kind ON clip (camera, start) WHERE kind > 0;
        CREATE INDEX clip_doubtful ON clip (camera, start) WHERE doubtful = 1;
        CREATE TABLE gap (
            entry INTEGER PRIMARY KEY NOT NULL,
            camera INTEGER NOT NULL,
            start INTEGER NOT NULL,
            "end" INTEGER NOT NULL,
            reason TEXT NOT NULL
        );
        CREATE INDEX gap_by_time ON gap (camera, start, "end");
        CREATE TABLE deleted (
            object BLOB PRIMARY KEY NOT NULL,
            pending INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX deleted_pending ON deleted (object) WHERE pending = 1;
        CREATE TABLE hold (
            hold BLOB PRIMARY KEY NOT NULL,
            camera BLOB,
            start INTEGER NOT NULL,
            "end" INTEGER NOT NULL,
            note BLOB
        ) WITHOUT ROWID;
        CREATE TABLE sealing (
            epoch BLOB PRIMARY KEY NOT NULL,
            file BLOB NOT NULL,
            recipients BLOB NOT NULL,
            made INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO meta VALUES ('position', 7);
        INSERT INTO camera (number, uuid) VALUES (9, x'00112233445566778899aabbccddeeff');
        INSERT INTO gap VALUES (3, 9, 1, 2, 'paused');
        """#
}
