-- Adds an entry to one of the streams. Returns its id, or 0 for a repeat.
--
-- KEYS: what was said; what only passes; the things; the things by their newest id; and, for what is said once, its
-- digest.
-- ARGV: 1 which stream, 2 how many entries it keeps, 3 the newest entry of what was said that the speaker's server has
-- read, 4 the newest id there, 5 who adds it, 6 the record, 7 whether anything before it may be lost (1) or not (0),
-- 8 how long a digest is known. And for a message with a key: 9 the thing's name, 10 how it stands, 11 the time,
-- 12 the most things.
--
-- Numbers in Lua are exact up to 2^53, and microseconds since 1970 are until the year 2255.
if KEYS[5] and not redis.call('SET', KEYS[5], 1, 'NX', 'EX', ARGV[8]) then return '0' end

local function top(stream)
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    return newest and tonumber(string.match(newest[1], '^%d+')) or 0
end

local tops = { top(KEYS[1]), top(KEYS[2]) }
local before = math.max(tonumber(ARGV[3]), tops[1])
local newest = math.max(before, tops[2], tonumber(ARGV[4]))
local now, lost = redis.call('TIME'), tonumber(ARGV[7])
local number = math.max(now[1] * 1000000 + now[2], newest + 1 + lost)
if lost > 0 then before = number - 1 end
local id = string.format('%.0f', number)
local stream = tonumber(ARGV[1])
redis.call('XADD', KEYS[stream], 'MAXLEN', '~', ARGV[2], id .. '-0', 'before', string.format('%.0f', before),
    'after', string.format('%.0f', tops[stream]), 'from', ARGV[5], 'said', ARGV[6])

local name, standing, since = ARGV[9], ARGV[10], ARGV[11]
if standing == 'gone' then
    redis.call('HDEL', KEYS[3], name)
    redis.call('ZREM', KEYS[4], name)
elseif name then
    local kept = redis.call('HGET', KEYS[3], name)
    local kept_since, kept_standing = string.match(kept or '', '^%d+ (%d+) (.*)\n')
    if kept_standing == standing then since = kept_since end
    redis.call('HSET', KEYS[3], name, id .. ' ' .. since .. ' ' .. standing .. '\n' .. ARGV[6])
    redis.call('ZADD', KEYS[4], id, name)
    for _ = 1, redis.call('ZCARD', KEYS[4]) - ARGV[12] do
        redis.call('HDEL', KEYS[3], redis.call('ZPOPMIN', KEYS[4])[1])
    end
end
return id
