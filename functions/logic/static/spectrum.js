// The amplitude spectral density, by Welch's method: the mean of the power of segments of equal length that overlap by
// half, each without its mean and in a Hann window; one-sided. As scipy.signal.welch(h, rate, "hann", n) ** 0.5.
const LEAST = 16; // samples of a segment

// The discrete Fourier transform in place; the length is a power of two (Cooley and Tukey, 1965).
function transform(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j], im[i], im[j]] = [re[j], re[i], im[j], im[i]];
  }
  const cos = Float64Array.from({ length: n / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / n));
  const sin = Float64Array.from({ length: n / 2 }, (_, k) => -Math.sin((2 * Math.PI * k) / n));
  for (let half = 1; half < n; half *= 2) {
    const step = n / (2 * half);
    for (let start = 0; start < n; start += 2 * half) {
      for (let k = 0; k < half; k++) {
        const a = start + k, b = a + half, c = cos[k * step], s = sin[k * step];
        const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}

// The parts of samples without a missing one (NaN).
function runs(h) {
  const found = [];
  for (let i = 0; i < h.length; i++) {
    const start = i;
    while (i < h.length && !Number.isNaN(h[i])) i++;
    if (i > start) found.push(h.subarray(start, i));
  }
  return found;
}

// Frequencies (Hz) without 0 and densities (1/sqrt(Hz)) of samples, and the number and length of the segments, which lie
// between gaps; null where no segment fits.
export function welch(h, rate) {
  const parts = runs(h);
  const longest = parts.reduce((most, { length }) => Math.max(most, length), 0);
  const n = 2 ** Math.floor(Math.log2(Math.min(longest, Math.max(rate, LEAST))));
  if (!(n >= LEAST)) return null;
  const hann = Float64Array.from({ length: n }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / n));
  const power = new Float64Array(n / 2 + 1);
  let segments = 0;
  for (const part of parts) {
    for (let start = 0; start + n <= part.length; start += n / 2) {
      const segment = part.subarray(start, start + n);
      const mean = segment.reduce((sum, value) => sum + value, 0) / n;
      const re = segment.map((value, i) => (value - mean) * hann[i]), im = new Float64Array(n);
      transform(re, im);
      for (let k = 0; k <= n / 2; k++) power[k] += re[k] ** 2 + im[k] ** 2;
      segments++;
    }
  }
  const scale = 1 / (rate * segments * hann.reduce((sum, w) => sum + w * w, 0));
  const f = [], asd = [];
  for (let k = 1; k <= n / 2; k++) {
    f.push((k * rate) / n);
    asd.push(Math.sqrt(power[k] * scale * (k < n / 2 ? 2 : 1)));
  }
  return { f, asd, segments, n };
}
