"""The Lua that Redis runs for us, each where one step must not be torn apart.

Law: Redis 6.0 runs all of it but REFRESH_BINDING, which is kombu's own and needs 6.2 (ZADD GT). Nobody's message is
decoded and written anew in Lua (cjson loses digits and empty arrays): messages are moved as they are. What can fail
comes before what removes, so that an error leaves a message where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .resp import Argument, Command


@lru_cache(maxsize=256)
def _sha(source: str) -> str:
    import hashlib  # brings OpenSSL, 3 ms: not for who only sends

    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Script:
    __slots__ = ("name", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source

    @property
    def sha(self) -> str:
        """By which Redis knows it."""
        return _sha(self.source)

    def call(self, keys: Sequence[str], args: Sequence[Argument]) -> Command:
        """By its sum. NOSCRIPT is answered by `load`, and then this again."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def load(self) -> Command:
        return ("SCRIPT", "LOAD", self.source)


# Takes up to ARGV[2] messages, served in the lists' order, into unacked in the same step: a message is always
# either in a list or in somebody's hands. An entry is [message, "", queue]: whoever restores it, kombu too, puts it
# back into the queue it came from. What is no JSON object goes in as a JSON string, which a sweep can read at least.
# KEYS: unacked, its index, the lists: of each priority one for each queue. ARGV: now, how many, the tags' prefix, the
# first serial, whether each queue is to have its part (1) or goes before those after it (0), and for each queue the end
# of its entries. Answers tag, number of the list (from 0), message, and so on.
TAKE = Script(
    "take",
    """
local left, serial, queues = tonumber(ARGV[2]), tonumber(ARGV[4]), #ARGV - 5
local rows, row = {}, 0
local function take(i, most)
    local found = redis.pcall('LRANGE', KEYS[i], -most, -1)
    local n = #found
    if n > 0 then
        local now, prefix, tail = ARGV[1], ARGV[3], ARGV[6 + (i - 3) % queues]
        local held, index, rows, row, list, byte = {}, {}, rows, row, i - 3, string.byte
        for j = 1, n do
            local raw = found[n + 1 - j]
            local tag = prefix .. string.format('%.0f', serial + j - 1)
            local text = raw
            if byte(raw, 1) ~= 123 or byte(raw, -1) ~= 125 then
                text = cjson.encode(raw)
            end
            held[2 * j - 1], held[2 * j] = tag, '[' .. text .. tail
            index[2 * j - 1], index[2 * j] = now, tag
            rows[row + 3 * j - 2], rows[row + 3 * j - 1], rows[row + 3 * j] = tag, list, raw
        end
        redis.call('HSET', KEYS[1], unpack(held))
        redis.call('ZADD', KEYS[2], unpack(index))
        redis.call('LTRIM', KEYS[i], 0, -n - 1)
    end
    serial, row, left = serial + n, row + 3 * n, left - n
    return n
end
for first = 3, #KEYS, queues do
    local lists = {}
    for i = first, first + queues - 1 do lists[#lists + 1] = i end
    while left > 0 and #lists > 0 do
        local more, most = {}, left
        if ARGV[5] == '1' then most = math.max(1, math.floor(left / #lists)) end
        for _, i in ipairs(lists) do
            if left == 0 then break end
            if most > left then most = left end
            if take(i, most) == most then more[#more + 1] = i end
        end
        lists = more
    end
    if left == 0 then break end
end
return rows
""",
)

# Puts messages back that are still held: a tag that somebody restored meanwhile must not come back twice.
# KEYS: unacked, its index, the lists. ARGV: LPUSH or RPUSH, then tag, number of the list (from 0), message, and so on.
# Answers how many went back.
PUT_BACK = Script(
    "put_back",
    """
local count = 0
for i = 2, #ARGV, 3 do
    if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
        redis.call(ARGV[1], KEYS[3 + tonumber(ARGV[i + 1])], ARGV[i + 2])
        redis.call('HDEL', KEYS[1], ARGV[i])
        count = count + 1
    end
    redis.call('ZREM', KEYS[2], ARGV[i])
end
return count
""",
)

# Restores one message of somebody else, if its entry is still what was read, its owner has not renewed it since,
# and, where a lease is named, has not come back to life. An empty entry: the index names what is no longer held.
# KEYS: unacked, its index, the list, perhaps the lease. ARGV: tag, entry, the latest score, message.
RECLAIM = Script(
    "reclaim",
    """
if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 1 then return 0 end
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not score or tonumber(score) > tonumber(ARGV[3]) then return 0 end
local entry = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if entry ~= ARGV[2] then return 0 end
if entry ~= '' then
    redis.call('RPUSH', KEYS[3], ARGV[4])
    redis.call('HDEL', KEYS[1], ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
""",
)

# Gives the restore lock back, unless it has run out and is another's by now. KEYS: lock. ARGV: token.
UNLOCK = Script(
    "unlock",
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""",
)

# Moves held messages with a far ETA out of our hands, where no visibility timeout can reach them.
# KEYS: unacked, its index, parked, its index. ARGV: tag, eta, parcel (list's length, colon, list, message), ...
# Answers how many were still held.
PARK = Script(
    "park",
    """
local count = 0
for i = 1, #ARGV, 3 do
    if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
        redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2])
        redis.call('ZADD', KEYS[4], ARGV[i + 1], ARGV[i])
        redis.call('HDEL', KEYS[1], ARGV[i])
        redis.call('ZREM', KEYS[2], ARGV[i])
        count = count + 1
    end
end
return count
""",
)

_UNPACK = """
local function deliver(tag)
    local parcel = redis.call('HGET', KEYS[1], tag)
    if not parcel then return false end
    local colon = string.find(parcel, ':', 1, true)
    local size = colon and tonumber(string.sub(parcel, 1, colon - 1))
    if not size then return true end
    local list = string.sub(parcel, colon + 1, colon + size)
    return redis.pcall('RPUSH', list, string.sub(parcel, colon + size + 1))
end
"""

# Delivers what is due, the earliest served next. What cannot be delivered (its list is no list) waits a minute more.
# KEYS: parked, its index. ARGV: now, how many at most. Answers how many were due.
PUMP = Script(
    "pump",
    _UNPACK
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for i = #due, 1, -1 do
    local sent = deliver(due[i])
    if type(sent) == 'table' or sent == true then
        redis.call('ZADD', KEYS[2], tonumber(ARGV[1]) + 60, due[i])
    else
        redis.call('HDEL', KEYS[1], due[i])
        redis.call('ZREM', KEYS[2], due[i])
    end
end
return #due
""",
)

# Delivers parked messages before their time, whoever may hold them then. KEYS: parked, its index. ARGV: tags.
# Answers how many went.
UNPARK = Script(
    "unpark",
    _UNPACK
    + """
local count = 0
for i = #ARGV, 1, -1 do
    if type(deliver(ARGV[i])) == 'number' then
        redis.call('HDEL', KEYS[1], ARGV[i])
        redis.call('ZREM', KEYS[2], ARGV[i])
        count = count + 1
    end
end
return count
""",
)

# Binds an expiring queue and moves the exchange's deadline on, by the server's clock; kombu 5.7 reads it.
# KEYS: the exchange's bindings, the deadlines. ARGV: member, exchange, lifetime in ms.
REFRESH_BINDING = Script(
    "refresh_binding",
    """
local clock = redis.call('TIME')
local deadline = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[3])
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], 'GT', string.format('%.0f', deadline), ARGV[2])
""",
)

# Deletes binding sets that outlived their deadline, but for those in which a lasting queue is bound.
# KEYS: the deadlines. ARGV: names of both kinds of set without the exchange, how many at most.
SWEEP_BINDINGS = Script(
    "sweep_bindings",
    """
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])
for _, exchange in ipairs(late) do
    if redis.call('EXISTS', ARGV[2] .. exchange) == 0 then
        redis.call('DEL', ARGV[1] .. exchange)
    end
    redis.call('ZREM', KEYS[1], exchange)
end
return #late
""",
)

SCRIPTS = (TAKE, PUT_BACK, RECLAIM, UNLOCK, PARK, PUMP, UNPARK, REFRESH_BINDING, SWEEP_BINDINGS)
