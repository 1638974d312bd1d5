// GPS time and UTC. UTC has had 18 leap seconds since GPS time began. One that is announced later is not known here:
// behind it, UTC would be wrong by a second until it is added to the list.
const EPOCH = Date.UTC(1980, 0, 6);
// The days (UTC) that begin after a leap second; IERS, Bulletin C.
const LEAPS = [
  "1981-07-01", "1982-07-01", "1983-07-01", "1985-07-01", "1988-01-01", "1990-01-01", "1991-01-01", "1992-07-01",
  "1993-07-01", "1994-07-01", "1996-01-01", "1997-07-01", "1999-01-01", "2006-01-01", "2009-01-01", "2012-07-01",
  "2015-07-01", "2017-01-01",
].map((day, i) => (Date.parse(day) - EPOCH) / 1000 + i + 1); // GPS seconds

// "2015-09-14 09:50:29" of GPS seconds, with milliseconds, cut, where they are not whole; during a leap second 23:59:60.
export function utcOf(gps) {
  const passed = LEAPS.filter((leap) => leap <= gps).length;
  const within = LEAPS[passed] - gps <= 1;
  const milliseconds = Math.floor((gps - passed - (within ? 1 : 0)) * 1000);
  const text = new Date(EPOCH + milliseconds).toISOString().replace("T", " ").replace("Z", "").replace(/\.000$/, "");
  return within ? text.replace("23:59:59", "23:59:60") : text;
}

// GPS seconds of a time in milliseconds since 1970.
export function gpsOf(unix) {
  const utc = (unix - EPOCH) / 1000;
  return utc + LEAPS.filter((leap, i) => leap - i - 1 <= utc).length;
}

// All digits that the store has given, so that an end is right to the sample.
export const exact = (gps) => String(gps);

export const both = (begin, end) => `GPS ${exact(begin)} – ${exact(end)}, ${utcOf(begin)} – ${utcOf(end)} UTC`;
