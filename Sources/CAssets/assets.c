#include "assets.h"
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char index_html[] = {
#embed "../../Web/index.html"
};
static const unsigned char index_sql[] = {
#embed "../../schemas/index.sql"
};

static const struct sudocam_asset assets[] = {
    {"/", "text/html; charset=utf-8", index_html, sizeof index_html},
    {"sql/index.sql", "application/sql", index_sql, sizeof index_sql},
};

const struct sudocam_asset *sudocam_assets(size_t *count) {
    *count = sizeof assets / sizeof assets[0];
    return assets;
}
