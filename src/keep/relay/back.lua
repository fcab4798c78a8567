-- Puts back newest words that Redis has lost: those on things of which it has none, or an older one.
--
-- KEYS: the things; the things by their newest id.
-- ARGV: 1 the most things. And for each word: the thing's name, the id, and what is kept under the name.
for at = 2, #ARGV, 3 do
    local name, id = ARGV[at], ARGV[at + 1]
    local kept = string.match(redis.call('HGET', KEYS[1], name) or '0', '^%d+')
    if tonumber(kept) < tonumber(id) then
        redis.call('HSET', KEYS[1], name, ARGV[at + 2])
        redis.call('ZADD', KEYS[2], id, name)
    end
end
for _ = 1, redis.call('ZCARD', KEYS[2]) - ARGV[1] do
    redis.call('HDEL', KEYS[1], redis.call('ZPOPMIN', KEYS[2])[1])
end
