#include <libavformat/avformat.h>
#include <libavcodec/avcodec.h>
#include <libavutil/avutil.h>
#include <libavutil/opt.h>

// Swift imports no macro that is an expression with a cast.
static inline int sudocam_averror_eof(void) { return AVERROR_EOF; }
static inline int sudocam_averror_again(void) { return AVERROR(EAGAIN); }
static inline int sudocam_averror_invalid_data(void) { return AVERROR_INVALIDDATA; }
static inline int sudocam_averror_invalid(void) { return AVERROR(EINVAL); }
static inline int sudocam_averror_timed_out(void) { return AVERROR(ETIMEDOUT); }
static inline int sudocam_averror_exit(void) { return AVERROR_EXIT; }
static inline int64_t sudocam_no_timestamp(void) { return AV_NOPTS_VALUE; }
