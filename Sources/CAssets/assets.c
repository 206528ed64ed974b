#include "assets.h"
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char index_html[] = {
#embed "../../Web/index.html"
};
static const unsigned char page_css[] = {
#embed "../../Web/page.css"
};
static const unsigned char app_js[] = {
#embed "../../Web/app.js"
};
static const unsigned char band_js[] = {
#embed "../../Web/band.js"
};
static const unsigned char band_model_js[] = {
#embed "../../Web/band-model.js"
};
static const unsigned char clock_js[] = {
#embed "../../Web/clock.js"
};
static const unsigned char control_js[] = {
#embed "../../Web/control.js"
};
static const unsigned char controls_js[] = {
#embed "../../Web/controls.js"
};
static const unsigned char days_js[] = {
#embed "../../Web/days.js"
};
static const unsigned char keys_js[] = {
#embed "../../Web/keys.js"
};
static const unsigned char timeline_js[] = {
#embed "../../Web/timeline.js"
};
static const unsigned char picture_js[] = {
#embed "../../Web/picture.js"
};
static const unsigned char remotes_js[] = {
#embed "../../Web/remotes.js"
};
static const unsigned char session_js[] = {
#embed "../../Web/session.js"
};
static const unsigned char witness_js[] = {
#embed "../../Web/witness.js"
};
static const unsigned char index_sql[] = {
#embed "../../schemas/index.sql"
};

#define SCRIPT(path, name) {path, "text/javascript; charset=utf-8", name, sizeof name}

static const struct sudocam_asset assets[] = {
    {"/", "text/html; charset=utf-8", index_html, sizeof index_html},
    {"/page.css", "text/css; charset=utf-8", page_css, sizeof page_css},
    SCRIPT("/app.js", app_js),
    SCRIPT("/band.js", band_js),
    SCRIPT("/band-model.js", band_model_js),
    SCRIPT("/clock.js", clock_js),
    SCRIPT("/control.js", control_js),
    SCRIPT("/controls.js", controls_js),
    SCRIPT("/days.js", days_js),
    SCRIPT("/keys.js", keys_js),
    SCRIPT("/timeline.js", timeline_js),
    SCRIPT("/picture.js", picture_js),
    SCRIPT("/remotes.js", remotes_js),
    SCRIPT("/session.js", session_js),
    SCRIPT("/witness.js", witness_js),
    {"sql/index.sql", "application/sql", index_sql, sizeof index_sql},
};

const struct sudocam_asset *sudocam_assets(size_t *count) {
    *count = sizeof assets / sizeof assets[0];
    return assets;
}
