import Core
import Ingest
import Vault

/// The Prometheus text format (version 0.0.4).
struct MetricsText {
    private(set) var text = ""

    mutating func family(_ name: String, _ type: String, _ help: String) {
        text += "# HELP sudocam_\(name) \(help)\n# TYPE sudocam_\(name) \(type)\n"
    }
    mutating func value(_ name: String, _ labels: [(String, String)], _ value: some CustomStringConvertible) {
        let inner = labels.map { key, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
            return "\(key)=\"\(escaped)\""
        }.joined(separator: ",")
        text += "sudocam_\(name)\(inner.isEmpty ? "" : "{\(inner)}") \(value)\n"
    }
}

extension RecorderServices {
    /// `GET /metrics`. Cameras are named by their UUID: metrics are readable without log-in.
    func metricsText() async -> String {
        var out = MetricsText()
        out.family("info", "gauge", "Version of the recorder.")
        out.value("info", [("version", Version.current)], 1)
        out.family("uptime_seconds", "gauge", "Seconds since the recorder started.")
        out.value("uptime_seconds", [], Double(time.monotonicNow() - started) / 1_000_000)
        out.family("locked", "gauge", "1 while nobody can see footage.")
        out.value("locked", [], vault.isUnlocked ? 0 : 1)
        var rows: [(id: String, status: Pipeline.Status, counters: RecorderCounters, pipeline: Pipeline)] = []
        for camera in recording.cameras {
            rows.append(
                (
                    "\(camera.id)", await camera.pipeline.status, await camera.pipeline.recorder.counters,
                    camera.pipeline
                ))
        }
        out.family("camera_up", "gauge", "1 while the camera is recorded.")
        for row in rows { out.value("camera_up", [("camera", row.id)], row.status.state == .recording ? 1 : 0) }
        out.family("camera_frozen", "gauge", "1 while the camera delivers a picture that does not change (I13).")
        for row in rows { out.value("camera_frozen", [("camera", row.id)], row.status.frozenSince == nil ? 0 : 1) }
        let counters: [(String, String, (RecorderCounters) -> UInt64)] = [
            ("recorded_frames_total", "Frames taken into clips.", { $0.frames }),
            ("recorded_bytes_total", "Bytes of frames taken into clips.", { $0.bytes }),
            ("committed_clips_total", "Clips committed to the ledger.", { $0.clips }),
            ("failed_clips_total", "Clips that could not be committed.", { $0.failedClips }),
            ("recorded_sound_frames_total", "Frames of sound taken into clips.", { $0.sounds }),
            ("skipped_frames_total", "Frames before the first key frame of a run.", { $0.skippedFrames }),
        ]
        for (name, help, value) in counters {
            out.family(name, "counter", help)
            for row in rows { out.value(name, [("camera", row.id)], value(row.counters)) }
        }
        out.family("lost_frames_total", "counter", "Frames lost because the machine or its disk did not keep up.")
        for row in rows { out.value("lost_frames_total", [("camera", row.id)], row.pipeline.overflowedFrames) }
        out.family(
            "lost_sound_frames_total", "counter", "Sound that could not be read, or had no place beside the pictures.")
        for row in rows {
            let lost = row.counters.lostSounds + UInt64(row.pipeline.lostSounds)
            out.value("lost_sound_frames_total", [("camera", row.id)], lost)
        }
        out.family("implausible_frames_total", "counter", "Frames dropped for a time that cannot be believed.")
        for row in rows { out.value("implausible_frames_total", [("camera", row.id)], row.pipeline.droppedFrames) }
        out.family("notices_total", "counter", "Notices for the owner, by what became of them.")
        let notices = notices.all
        for result in NoticeCounts.Result.allCases {
            out.value("notices_total", [("result", result.rawValue)], notices[result] ?? 0)
        }
        let retained = retention.counts
        out.family(
            "retention_last_run_seconds", "gauge", "Unix time of the last retention pass that ended well; 0: none.")
        out.value("retention_last_run_seconds", [], (retained.lastRun?.microseconds ?? 0) / 1_000_000)
        out.family("retention_failures_total", "counter", "Retention passes that failed.")
        out.value("retention_failures_total", [], retained.failures)
        out.family("retention_deleted_clips_total", "counter", "Clips deleted, by cause.")
        let deleted = vault.deleted.sorted { $0.key < $1.key }
        for (cause, counts) in deleted {
            out.value("retention_deleted_clips_total", [("cause", cause)], counts.clips)
        }
        out.family("retention_deleted_bytes_total", "counter", "Bytes of objects deleted, by cause.")
        for (cause, counts) in deleted {
            out.value("retention_deleted_bytes_total", [("cause", cause)], counts.bytes)
        }
        out.family(
            "retention_early_clips_total", "counter", "Clips that a full disk took although a rule keeps them longer.")
        out.value("retention_early_clips_total", [], retained.early)
        out.family("retention_unmet_bytes", "gauge", "Bytes a budget or a full disk asks for and nothing may give.")
        for unmet in retained.unmet {
            let camera = unmet.camera.map { [("camera", $0.description)] } ?? []
            out.value("retention_unmet_bytes", [("cause", unmet.cause.description)] + camera, unmet.bytes)
        }
        out.family(
            "disk_full", "gauge", "0: there is space; 1: full, the oldest goes; 2: full, recording stops.")
        out.value("disk_full", [], vault.diskPressure.rawValue)
        if let free = try? vault.freeBytes() {
            out.family("disk_free_bytes", "gauge", "Bytes free on the vault's file system.")
            out.value("disk_free_bytes", [], free)
        }
        out.family("clock_trusted", "gauge", "0 while nobody vouches for the wall clock.")
        out.value("clock_trusted", [], retained.isTimeTrusted ? 1 : 0)
        if let scrub = self.scrub.current {
            // Absent while something was never checked: any number would be untrue.
            if let since = scrub.verifiedSince {
                out.family("last_verified_age_seconds", "gauge", "Age of the oldest check of something kept (V34).")
                out.value("last_verified_age_seconds", [], max(0, time.wallNow() - since) / 1_000_000)
            }
            out.family("verified_shards", "gauge", "Of the 256 folders, those that were ever checked.")
            out.value("verified_shards", [], scrub.shards.count { $0 != nil })
            out.family("verification_findings", "gauge", "Things kept that are not what they were.")
            out.value("verification_findings", [], scrub.findings.values.reduce(0) { $0 + $1.count })
        }
        addRemotes(&out)
        let reloads = reloads.counts
        out.family("config_reloads_total", "counter", "Readings of sudocam.yaml while the recorder runs, by result.")
        for result in ReloadStatus.Result.allCases {
            out.value("config_reloads_total", [("result", result.rawValue)], reloads.results[result] ?? 0)
        }
        out.family("config_last_reload_successful", "gauge", "0 after sudocam.yaml was refused the last time.")
        out.value("config_last_reload_successful", [], reloads.isLastSuccessful ? 1 : 0)
        out.family("damaged_frames_total", "counter", "Frames that came with parts missing; they are recorded.")
        for row in rows { out.value("damaged_frames_total", [("camera", row.id)], row.pipeline.damagedFrames) }
        let media = await media.counts()
        out.family("viewers", "gauge", "Open WebRTC sessions.")
        out.value("viewers", [], media.sessions)
        out.family("sessions_opened_total", "counter", "WebRTC sessions opened since the start.")
        out.value("sessions_opened_total", [], media.opened)
        out.family("media_sent_bytes_total", "counter", "Bytes sent in datagrams.")
        out.value("media_sent_bytes_total", [], media.bytesOut)
        out.family("media_dropped_datagrams_total", "counter", "Datagrams of nobody known.")
        out.value("media_dropped_datagrams_total", [], media.dropped)
        return out.text
    }
}

extension RecorderServices {
    /// Remotes by their names: the owner chose them to be read here.
    private func addRemotes(_ out: inout MetricsText) {
        let all = remotes.all
        guard !all.isEmpty else { return }
        let now = time.wallNow()
        let seconds = { (time: WallTime) in max(0, now - time) / 1_000_000 }
        let families: [(String, String, String, (RemoteStatuses.Entry) -> Int64?)] = [
            (
                "remote_up", "gauge", "1 while nothing keeps the remote from getting level.",
                { $0.status.progress.failure == nil ? 1 : 0 }
            ),
            (
                "remote_lag_seconds", "gauge", "Age of the oldest clip that waits to be sent; 0: none.",
                { $0.status.lagSeconds }
            ),
            ("remote_lag_bytes", "gauge", "Bytes that wait to be sent.", { Int64($0.status.waitingBytes) }),
            ("remote_lag_objects", "gauge", "Objects that wait to be sent.", { Int64($0.status.waitingObjects) }),
            (
                "remote_oldest_unsent_event_age_seconds", "gauge",
                "Age of the oldest clip with an event that waits to be sent; 0: none.",
                { $0.status.oldestUnsentEvent.map(seconds) ?? 0 }
            ),
            ("remote_sent_bytes_total", "counter", "Bytes of objects ever sent there.", { $0.sentBytes }),
            ("remote_objects", "gauge", "Objects known to lie there.", { Int64($0.status.objects) }),
            ("remote_evicted_objects", "gauge", "Objects that lie there only.", { Int64($0.status.evictedObjects) }),
            (
                "remote_locked_objects", "gauge", "Objects removed here and kept there by object lock or rights.",
                { Int64($0.status.lockedObjects) }
            ),
            (
                "remote_last_success_age_seconds", "gauge", "Since something was last accepted there.",
                { $0.status.progress.lastSuccess.map(seconds) }
            ),
        ]
        for (name, type, help, value) in families {
            out.family(name, type, help)
            for entry in all {
                if let value = value(entry) { out.value(name, [("remote", entry.status.name)], value) }
            }
        }
    }
}
