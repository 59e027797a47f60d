"""How processes count together: the store's one script, what it is given, and what it answers. Pure.

Each tally is one hash in the store, with one field for each process. A field holds that process's own totals, absolute
numbers that nobody else writes, and what its last script was granted: so one that comes twice, or late, does no harm,
and decides nothing anew; a store that has lost its memory is filled again by the processes that still run; and what a
process used stays counted when it dies, while what it had set aside falls away when its deadline is over. `seq` grows
with each script of a process, so that one that was delayed on its way never replaces what is newer.

What processes used that were not heard of for a day is added up in one field, `gone`, since each script reads all of
them, and in a month there may have been thousands.

The script sums the others up, decides on what is asked for, one ask after the other, and writes the process's own
totals with what it granted. The store's clock rules: a process that is behind it is told so, and asks again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from dataplane.limits.tally import TTL, Ask, Count, Tally

PREFIX: Final = "tidegate:limits:1"
"""Of every key; the number is that of the format."""
KEEP_MS: Final = 60_000
"""For how long a tally is kept in the store when it is over."""
GONE_MS: Final = 86_400_000
"""After so long a process that says nothing does not come back. One that does, and was cut off from the store alone,
counts twice what it had used in windows that go on."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9._@/:-]{0,160}")

SCRIPT: Final = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local own, seq, ttl, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local counts, asks, fold, at = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), 8
local names, stop, uses, used, reserved, index = {}, {}, {}, {}, {}, {}
local known, others_used, others_reserved, before = {}, {}, {}, nil
for i = 1, counts do
  names[i], stop[i], uses[i] = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2] == 'u'
  used[i], reserved[i] = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  known[i], others_used[i], others_reserved[i], index[ARGV[at]] = tonumber(ARGV[at + 5]), 0, 0, i
  if now >= stop[i] then return {'stale', now} end
  at = at + 6
end

local found, fields = 0, redis.call('HGETALL', KEYS[1])
local gone, over, folds = {}, {}, false
for i = 1, #fields, 2 do
  local number, deadline, grants, rest = string.match(fields[i + 1], '^(%d+) (%d+) g(%d*) (.*)$')
  if fields[i] == own then
    if tonumber(number) > seq then return {'old', now} end
    if tonumber(number) == seq then before = grants end
    found = 1
  else
    local alive, old = tonumber(deadline) > now, fold > 0 and tonumber(deadline) + fold <= now
    local matters = alive
    for name, ends, u, r in string.gmatch(rest, '([^,;]+),(%d+),(%d+),(%d+)') do
      local k = index[name]
      if k and alive then others_reserved[k] = others_reserved[k] + tonumber(r) end
      if k and tonumber(ends) == stop[k] then others_used[k] = others_used[k] + tonumber(u) end
      if tonumber(u) > 0 and tonumber(ends) > now then
        matters = true
        if old then gone[name .. ',' .. ends] = (gone[name .. ',' .. ends] or 0) + tonumber(u) end
      end
    end
    old = old and fields[i] ~= 'gone'
    folds = folds or old
    if old or not matters then over[#over + 1] = fields[i] end
  end
end
for _, field in ipairs(over) do redis.call('HDEL', KEYS[1], field) end
if folds and next(gone) then
  local sums = {}
  for count, sum in pairs(gone) do sums[#sums + 1] = string.format('%s,%.0f,0', count, sum) end
  redis.call('HSET', KEYS[1], 'gone', '0 0 g ' .. table.concat(sums, ';'))
end

local granted = ''
for i = 1, counts do others_used[i] = math.max(others_used[i], known[i]) end
for _ = 1, asks do
  local wants, room = tonumber(ARGV[at]), true
  for j = 0, wants - 1 do
    local k, amount = tonumber(ARGV[at + 1 + 3 * j]), tonumber(ARGV[at + 2 + 3 * j])
    local after = used[k] + others_used[k] + reserved[k] + others_reserved[k] + amount
    room = room and after <= tonumber(ARGV[at + 3 + 3 * j])
  end
  if before then room = string.sub(before, #granted + 1, #granted + 1) == '1' end
  for j = 0, wants - 1 do
    local k, amount = tonumber(ARGV[at + 1 + 3 * j]), tonumber(ARGV[at + 2 + 3 * j])
    if room and uses[k] then used[k] = used[k] + amount elseif room then reserved[k] = reserved[k] + amount end
  end
  granted = granted .. (room and '1' or '0')
  at = at + 1 + 3 * wants
end

local parts, last = {}, ttl
for i = 1, counts do
  parts[i] = string.format('%s,%.0f,%.0f,%.0f', names[i], stop[i], used[i], reserved[i])
  if stop[i] < 250000000000000 then last = math.max(last, stop[i] - now) end
end
redis.call('HSET', KEYS[1], own, string.format('%.0f %.0f g%s ', seq, now + ttl, granted) .. table.concat(parts, ';'))
if redis.call('PTTL', KEYS[1]) < last + keep then redis.call('PEXPIRE', KEYS[1], last + keep) end
local answer = {'ok', now, found, granted}
for i = 1, counts do
  answer[#answer + 1] = others_used[i]
  answer[#answer + 1] = others_reserved[i]
end
return answer
"""

SHA: Final = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324  (it is the name that the store gives it)


def key(policy: str, subject: str) -> str:
    """Of a tally. A subject may be any text that an issuer of tokens chose: what is long or odd is hashed."""
    if not _PLAIN.fullmatch(subject):
        subject = "sha256:" + hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{PREFIX}:{policy}:{subject}"


class Told(NamedTuple):
    """One script's arguments, and the counts that they are about, in order."""

    arguments: list[str | int]
    counts: list[tuple[Count, int]]
    """With the ends of their windows."""


def told(process: str, seq: int, tally: Tally, asks: Sequence[Ask], now: float, *, fold: bool = False) -> Told:
    """What the store is told of a tally, and asked for. It is told as well what the others used when they were last
    heard of: within a window that only grows, so where the store has lost its memory it is not less. `fold`: processes
    that are gone are to be added up."""
    counts = [(name, count.at(now)) for name, count in tally.counts.items()]
    places = {name: place for place, (name, _) in enumerate(counts, 1)}
    arguments: list[str | int] = [process, seq, int(TTL * 1000), KEEP_MS, len(counts), len(asks)]
    arguments.append(GONE_MS if fold else 0)
    for name, count in counts:
        kind = "u" if name.startswith("requests") else "r"
        arguments += (name, count.window.end * 1000, kind, count.used, count.reserved, count.others_used)
    for ask in asks:
        arguments.append(len(ask))
        for want in ask:
            arguments += (places[want.limit.name], want.amount, want.max)
    return Told(arguments, [(count, count.window.end) for _, count in counts])


class Reply(NamedTuple):
    """What the store answers."""

    status: str
    """`ok`; `stale`: some window is over by the store's clock; `old`: a newer script of this process was there."""
    now: float
    """Seconds since the epoch, by the store's clock."""
    found: bool = False
    """Did it know this process?"""
    granted: str = ""
    """For each ask `1` or `0`."""
    others: tuple[int, ...] = ()
    """Of each count: what the others used, and have set aside."""


def reply(answer: object) -> Reply:
    """Raises ValueError for what is no answer of the script."""
    if not isinstance(answer, list) or len(answer) < 2 or not isinstance(answer[0], bytes):
        raise ValueError("the store answered something else than its script does")
    status, now = answer[0].decode(), int(answer[1]) / 1000
    if status != "ok":
        return Reply(status, now)
    return Reply(status, now, bool(answer[2]), answer[3].decode(), tuple(map(int, answer[4:])))


def heard(sent: Told, answer: Reply) -> None:
    """Keep what the store said of the others, unless the window is over meanwhile."""
    for place, (count, end) in enumerate(sent.counts):
        if count.window.end == end:
            count.heard(answer.others[2 * place], answer.others[2 * place + 1], answer.now)
