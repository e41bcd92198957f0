// Numbers and times as people read them, and the one way in which text gets into the page.

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 1234567 as 1.2M; small numbers as they are. */
export const short = (number) => (number < 10000 ? whole.format(number) : compact.format(number));

/** 1234567 as 1,234,567. */
export const full = (number) => whole.format(number);

/** Messages per second; null while there is only one sample. */
export function rate(perSecond) {
  if (perSecond === null) return "–";
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : short(perSecond);
}

/** 4096 as 4 KiB. */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${number < 10 && unit > 0 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

/** 93784 as 1d 2h. */
export function duration(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => seconds >= size);
  if (first === -1) return "0s";
  return parts
    .slice(first, first + 2)
    .map(([unit, size], index) => {
      const above = index === 0 ? Infinity : parts[first][1];
      return [Math.floor((seconds % above) / size), unit];
    })
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(" ");
}

/** Sets the text of an element, never its HTML, and only where it changed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
