/// What `FileTime.parse` takes, as help and errors name it.
package enum TimeForms {
    package static let text =
        "2026-11-25T14:03:27Z (or with an offset), microseconds since 1970, now, or -90s, -5m, -2h, -1d before now"
}
