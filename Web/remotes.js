// How the copies elsewhere stand, in words: a quiet line while something is under way, a note in the help otherwise.
import {MINUTE, SECOND, fullText, spanText} from './band-model.js';

/** A camera's clip takes a minute to end and some seconds to send: before that nobody is behind. */
const QUIET = 3 * MINUTE;

/** 512 B · 3 MB · 1.2 GB @param {number} bytes */
export function sizeText(bytes) {
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let step = 0;
    while (bytes >= 1000 && step < units.length - 1) { bytes /= 1000; step++; }
    return `${bytes < 10 && step ? Math.round(bytes * 10) / 10 : Math.round(bytes)} ${units[step]}`;
}

/** The quiet line's part for one remote; empty when there is nothing to say. @param {any} remote @param {number} now */
export function remoteText(remote, now) {
    const parts = [];
    if (remote.followed) {
        if (remote.failure) parts.push(remote.failure);
        parts.push(`the newest recording is ${spanText(remote.lagSeconds * SECOND)} old`);
        return `From ${remote.name}: ${parts.join('; ')}`;
    }
    const behind = remote.lagSeconds * SECOND > QUIET;
    if (remote.lagObjects && (behind || remote.failure)) parts.push(`${sizeText(remote.lagBytes)} wait, ${spanText(remote.lagSeconds * SECOND)} behind`);
    if (remote.oldestUnsentEvent && (behind || remote.failure)) parts.push(`an event of ${spanText(now - remote.oldestUnsentEvent)} ago is not there yet`);
    if (remote.backfillObjects) parts.push(`${sizeText(remote.backfillBytes)} still to come back from there; everything plays meanwhile`);
    return parts.length ? `Copy in ${remote.name}: ${parts.join('; ')}` : '';
}

/** For the help. @param {any[]} remotes */
export function remotesNote(remotes) {
    return remotes.filter(remote => !remote.followed).map(remote =>
        `Copy in ${remote.name}: ${remote.objects} recordings, ${sizeText(remote.bytes)}`
        + `${remote.evictedObjects ? `, ${remote.evictedObjects} of them only there` : ''}`
        + `${remote.lastSuccess ? `; last sent ${fullText(remote.lastSuccess)}` : ''}.`).join(' ');
}
