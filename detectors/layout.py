"""Where everything lies in a stream's flat integer arrays, and every constant of the rule. The README gives the reasons."""

# ---- burst: buckets of hashed tokens, int64[BUCKETS, 2]
BUCKETS = 8192
# word 0: admitted events holding the token (32 bits) | of the last 2,048 (12) | of the last 128 (8) | of the last 8 (4)
# word 1: admitted among the last 2,048 (12) | 128 (8) | 8 (4), and the number of the event that touched it last (32, not saved)
LONG_SHIFT = 24
IN_SHIFTS = (0, 4, 12)
IN_MASKS = (0xF, 0xFF, 0xFFF)
STAMP_SHIFT = 24
LOW24 = (1 << 24) - 1
WINDOWS = (8, 128, 2048)
N_WINDOWS = 3
LONG_MAX = 1 << 30
# ring of the tokens of the last 2,048 events: buckets uint16[RING], and per event start | length | admitted
RING = 32768
RING_EVENTS = 2048
BURST_TOKENS = 128
# contexts of numbers, int64[CONTEXTS, 2]: which of 64 hashed values were seen | changes (32 bits) and the last value's hash (32)
CONTEXTS = 1024

# ---- habits: tokens that led floods, int64[HABITS, 6] in sets of 8: bucket + 1, when it led last and with how many bits, in which episode; and before
HABITS, HABIT_SET = 24, 8
A_KEY, A_LAST, A_BITS, A_EPISODE, A_BEFORE, A_BEFORE_BITS = range(6)
HABIT_COLUMNS = 6

# ---- tokens of one event, int64[MAX_TOKENS, TOKEN_COLUMNS]; the last three are of numbers only
MAX_TOKENS = 256
MAX_WORDS = 48
MAX_DEPTH = 32
T_SLOT, T_RAW, T_COARSE, T_NUMBER, T_START, T_END, T_FIELD, T_MANTISSA, T_EXPONENT, T_MOVES = range(10)
TOKEN_COLUMNS = 10
NO_NUMBER = -(1 << 40)
IS_STRUCTURE = NO_NUMBER - 1  # the row of a string's brackets and quotes
# what the tokeniser says of an event, int64[COUNTS]
C_TOKENS, C_FIELDS, C_TEMPLATE, C_STRUCTURE, C_BURST, C_HAS_TEXT, C_JSON, C_WORDS, C_LINES = range(9)
COUNTS = 9
# lines of one event, int64[MAX_LINES, 3]
MAX_LINES = 256
LINE_KIND, LINE_START, LINE_END = range(3)

# ---- novelty: slots int32[capacity, SLOT_COLUMNS], found by open addressing; symbols int64[capacity] in sets of 8
SLOT_COLUMNS = 80
S_KEY, S_N, S_LAST, S_MEAN, S_STEPS, S_DISTANCE, S_CHANGES, S_NUMBERS = range(8)
S_DISTINCT = (8, 9)
S_MASS = (10, 26)
S_TAIL = (42, 58)
S_SINCE, S_SINCE_NEXT, S_KNOWN, S_KNOWN_NEXT = 74, 75, (76, 77), (78, 79)
FRESH_BINS = 128
OCTAVES = 16
TAIL_BINS = 16
SLOTS_FIRST, SLOTS_MAX = 64, 512
SYMBOLS_FIRST, SYMBOLS_MAX = 1024, 16384
SET = 8
COUNT_BITS = 31
COUNT_MASK = (1 << COUNT_BITS) - 1
SLOT_WARM = 32
KEY_TEMPLATE, KEY_STRUCTURE, KEY_OTHER, KEY_REST, KEY_SET, KEY_MULTISET = 1, 2, 3, 4, 5, 6

# ---- pairs: symbols that join, int64[MOST_JOINED, 4]; a filter of two generations, int64[2 * words]; partners uint8[PARTNERS];
# how often each pair of slots gave so many bits, uint16[PAIR_ROWS, PAIR_COLUMNS]
MOST_JOINED = 20
J_SYMBOL, J_SLOT, J_COUNT, J_ROW = range(4)
FILTER_FIRST, FILTER_MAX = 256, 4096
PARTNERS = 131072
PAIR_ROWS, PAIR_COLUMNS, PAIR_BINS = 1024, 16, 16
PAIR_WARM, PAIR_LEAST = 64, 2

# ---- sessions: kinds int64[3, KINDS] (hash, sessions that had it, lines of it), and the first bytes of a line of each
KINDS = 64
KIND_TEXT = 48
KIND_COUNT, KIND_NEXT = 21, 22
MOST_REPEATS = 40
SESSION_MISSING, SESSION_MANY, SESSION_ORDER, SESSION_BITS = range(4)  # and the bits of each behind it

# ---- numbers: fields int64[FIELDS, N_COLUMNS] in sets of 8, their histograms int32[FIELDS, HISTOGRAM]
FIELDS = 32
FIELD_SET = 8
FIELD_LIFE = 64
NUMBER_WARM = 32
NUMBER_SETTLED = 8
DIGITS = 14
DIGITS_MAX = 16
NO_SHIFT = 1 << 20
FINER = 6
WIDTH_DIGITS, COUNTER_DIGITS = 8, 4
SLOW, TYPICAL, ERROR = 2048, 1024, 128
COUNTS_MAX = 1 << 17
STEADY_AFTER = 8
VARIES_MORE = 2 << 16
HALF_HOURS, HALF_HOUR_MS = 48, 1_800_000
(
    N_KEY, N_LIFE, N_SEEN, N_MOVED, N_SHIFT, N_RAW, N_UPS, N_DOWNS, N_COUNTER, N_COUNT, N_LAST, N_SLOW, N_WIDTH, N_FAST, N_MIDDLE, N_LATE,
    N_ERROR, N_CODE, N_SPREAD, N_RUN, N_SAME, N_RECENT, N_DAILY, N_VISIT, N_VISIT_MEAN, N_VISIT_COUNT, N_STEP,
) = range(27)  # fmt: skip
N_DAY = 27
N_COLUMNS = N_DAY + HALF_HOURS
HALF_BINS = 20
NUMBER_BINS = 2 * HALF_BINS
W_VALUE, W_MOVE, W_DRIFT, W_SPREAD, W_DAILY, W_ERROR, W_STUCK = range(7)
N_HISTOGRAMS = 5
RUN_AT = N_HISTOGRAMS * NUMBER_BINS
RUN_BINS = 40
VISITS_AT = RUN_AT + RUN_BINS
HISTOGRAM = VISITS_AT + HALF_HOURS

# ---- scales: 3 for burst, then one a channel; histogram int64[SCALES, BINS] and parameters in the head
SCALES = 7
Q_TEMPLATE, Q_VALUE, Q_SESSION, Q_NUMBER = 3, 4, 5, 6
BINS = 256
RESCALE_EVERY = 32
SCALE_PRIOR = 1024
GUARD_AFTER = 500
GUARD_Z = 2 << 16
GUARD_ONE_IN = 16

# ---- reference: int32[GROUPS, 2 * REFERENCE + LEARN_EVERY]: ring | sorted | pending, for each group of channels
GROUPS = 4
G_BURST, G_NOVELTY, G_SESSION, G_NUMBER = range(4)
REFERENCE = 4096
LEARN_EVERY = 64
EXACT_RANK = 10
TAIL_SHARE = 32
TAIL_LEAST = 16
TAIL_PRIOR = 8
TAIL_PRIOR_MEAN = 3 << 13
TAIL_BEYOND = 10 << 16
RUN_APART = 8
LOG2_E = 94548
SHOW_FROM, CALIBRATED_FROM = 50, 1000

# ---- episodes
OPEN_SURPRISAL = 435412
OPEN_EFFECT = 1 << 15
AGAIN = 6 << 16  # log2 QUIET_EVENTS
QUIET_EVENTS = 64
START_EVENTS = 32
ADOPT_AFTER = 8192
ADOPT_FREE = 1024
MIN_EFFECT = 5 << 15
DAY_MS = 86_400_000

# ---- identity
ID_RING = 4096
ID_INDEX = 8192

# ---- samples of raw events: uint8[(BASELINE + WINDOW) * SAMPLE + PEAK]
SAMPLE = 384
BASELINE_SAMPLES, WINDOW_SAMPLES = 46, 32
BASELINE_EVERY = 8
PEAK_BYTES = 1024
EVIDENCE, EVIDENCE_COLUMNS = 8, 8
V_CHANNEL, V_START, V_END, V_BITS, V_SEEN, V_OF, V_BEFORE, V_BEFORE_OF = range(8)
V_BURST, V_FORM, V_VALUE, V_PAIR, V_MISSING, V_MANY, V_ORDER, V_NUMBER, V_RATE, V_SILENCE = range(10)

# ---- channels and columns of the results, int64[n, COLUMNS]
CHANNELS = ("burst", "template", "value", "session", "number", "rate", "silence")
CH_RATE, CH_SILENCE = 5, 6
KIND_OF_GROUP = (0, 2, 3, 4)  # the channel that a group of the reference stands for; of novelty the template may lead
N_CHANNELS = 7
R_SCORE, R_SURPRISAL, R_REFERENCE, R_FLAGS, R_EPISODE, R_OPENED, R_SILENCE, R_CHANNEL = range(8)
COLUMNS = R_CHANNEL + N_CHANNELS
F_EXTRAPOLATED, F_DUPLICATE, F_REPORTED = 1, 2, 4

# ---- head, int64[HEAD]: all scalars, then the scales, then sizes of samples
(
    H_EVENTS,
    H_TIME,
    H_RING_AT,
    H_RING_USED,
    H_EVENT_AT,
    H_IN,
    H_LONG,
    H_ADMITTED,
    H_GUARDED,
) = (0, 1, 2, 3, 4, 5, 8, 9, 12)
H_SLOTS, H_SYMBOLS = 13, 14
H_REF_N, H_REF_AT, H_PENDING, H_TAIL_K = 16, 17, 18, 19
H_TEMPLATE, H_STEADY, H_LOOKS = 29, 30, 31
H_RATE_T, H_RATE_N, H_MID_T, H_MID_N, H_RATE_BITS = 24, 25, 26, 27, 28
H_OPEN, H_EPISODE, H_STARTED, H_LAST, H_COUNT, H_QUIET, H_SPAN, H_REPORTED, H_REVISION, H_NEXT = (
    32,
    33,
    34,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
)
H_PEAK_SCORE, H_PEAK_SURPRISAL, H_PEAK_EXTRAPOLATED, H_PEAK_REFERENCE, H_CALIBRATED, H_JSON = 42, 43, 44, 45, 46, 47
H_SILENT, H_SCORED_AT, H_DUE, H_PEAK_KIND = 48, 49, 50, 51
H_PEAK_SIZE, H_EVIDENCE_N, H_OPENED_AT, H_FREE_UNTIL = 52, 53, 54, 55
H_BASELINE_N, H_WINDOW_N, H_CODE = 56, 57, 58
H_IDS, H_ID_AT = 60, 61
H_LOOKED, H_LOW = 62, 63
H_PAIR_N, H_BOUND, H_PEAK_SHOWN, H_KINDS, H_SESSIONS = 15, 20, 21, 22, 23
H_EVIDENCE = 64
H_TAIL_Y = H_EVIDENCE + EVIDENCE * EVIDENCE_COLUMNS
H_TAIL_MEAN = H_TAIL_Y + GROUPS
H_GROUP_PEAK = H_TAIL_MEAN + GROUPS
H_SCALE = H_GROUP_PEAK + GROUPS
SCALE_COLUMNS = 4
Q_MEDIAN, Q_SCALE, Q_N, Q_SKIPPED = range(4)
H_HISTOGRAM = H_SCALE + SCALES * SCALE_COLUMNS
H_SIZES = H_HISTOGRAM + SCALES * BINS
H_CODES = H_SIZES + BASELINE_SAMPLES + WINDOW_SAMPLES
H_PEAK_CHANNEL = H_CODES + BASELINE_SAMPLES + WINDOW_SAMPLES
H_PATTERN_N = H_PEAK_CHANNEL + 8
# what the open episode was told for: keys and sizes (patterns.py); what a person said of such: verdict and key, size
PATTERNS, TAUGHT = 16, 48
NORMAL, CONFIRMED = 1, 2
VERDICT_SHIFT, KEY_MASK = 40, (1 << 40) - 1
SIZE_SLACK = 1 << 15
H_CONFIRMED, H_TAUGHT_N = H_PATTERN_N + 1, H_PATTERN_N + 2
H_PATTERNS = H_PATTERN_N + 3
H_TAUGHT = H_PATTERNS + 2 * PATTERNS
# forms of events, a word a bin: when warm-up ended (20 bits) | of the last 1,024 at most (20) | of the 1,024 before (20)
ANCHOR_BINS, ANCHOR_EVENTS, PRESENT_EVENTS = 64, 1000, 1024
PRESENT_SHIFT, BEFORE_SHIFT, FORM_MASK = 20, 40, (1 << 20) - 1
H_ANCHOR_N = H_TAUGHT + 2 * TAUGHT
H_PRESENT_N = H_ANCHOR_N + 1
H_ANCHOR = H_ANCHOR_N + 2
HEAD = H_ANCHOR + ANCHOR_BINS

# ---- time, int64[TIMING]: levels of rate | their baselines | weekly pattern | silence
HOUR_MS = 3_600_000
SPANS = (10_000, 60_000, 600_000, HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS, 168 * HOUR_MS)
LEVELS = 4
UNITS = 4
# what a level holds of its span, and of the bits and the dispersion of those before
L_END, L_COUNT, L_BAD, L_MU, L_SHAPE, L_NEXT, L_NOW, L_HELD, L_RATIO = range(9)
L_A, L_B, L_A_ODD, L_B_ODD, L_ODD, L_OPEN, L_PEAK = range(9, 16)
# a histogram of evidence (tails.py)
X_N, X_K, X_BIN, X_MEAN, X_COUNTS = range(5)
TAILS_BINS = 160
L_TAIL = 16
LEVEL_COLUMNS = L_TAIL + X_COUNTS + TAILS_BINS
Y_UNIT = LEVELS * LEVEL_COLUMNS
Y_FIRST, Y_EVENTS, Y_BORN = Y_UNIT + 1, Y_UNIT + 2, Y_UNIT + 3
Y_LOCAL, Y_BASE = Y_UNIT + 4, Y_UNIT + 8  # each: events and exposure; of spans kept apart, events and exposure
Y_SHOWN = Y_UNIT + 12  # of what rate said last: level, count, expected (2^-8), bits, whether extrapolated, n
Y_AGED = Y_UNIT + 18  # weeks at which the spans were halved last
Y_WEEKLY = Y_UNIT + 19  # whether anything was learned of the week
Y_DAY = Y_WEEKLY + 1  # for each hour of the day: log2 factor (2^-16), hours learned
Y_WEEK = Y_DAY + 2 * 24
Y_GAP = Y_WEEK + 2 * 168
G_STAGE, G_OPEN, G_AT, G_TOLD_AT, G_JSON, G_SURPRISAL, G_EPISODE, G_TOLD = range(Y_GAP, Y_GAP + 8)
G_LONGEST, G_AGAIN = Y_GAP + 8, Y_GAP + 9  # the gap of the last silence that was told, and up to which event it counts
G_TAIL = Y_GAP + 10
TIMING = G_TAIL + X_COUNTS + TAILS_BINS
TAILS_FROM, TAILS_SIZE, TAILS_MAX = 64, 16, 1 << 22
TAILS_PRIOR, TAILS_PRIOR_MEAN, TAILS_SEEN = 16, 1 << 15, 3 << 16
NEVER = 1 << 60
KIND_SHARE = 2 << 16
TIME_SCALE = 4
RATE_WARM = 8
RATE_SHARE = 2 << 16
RATE_ODD = 8 << 16
RATE_KAPPA_LEAST, RATE_KAPPA_PRIOR, RATE_PRIOR = 256, 4096, 16
RATE_MEMORY = 512
LATE_MS = 1000
LOCAL_SPANS = 512
BASE_MS = 4 * 168 * HOUR_MS
ODD_SPANS = (2160, 360, 36, 24)
CATCH_UP = 64
SILENCE_LEAST_MS = 10_000
SILENCE_ADOPT_MS = 168 * HOUR_MS
OUTAGE_SURPRISAL = 870824

# ---- why the kernel came back
DONE, EMIT_REPORTED, EMIT_DOUBLED, EMIT_CLOSED, EMIT_ADOPTED, GROW_SLOTS, GROW_SYMBOLS, GROW_PAIRS, DISORDER = range(9)
