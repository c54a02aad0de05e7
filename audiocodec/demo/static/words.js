// Quantities in words.

export const size = (bytes) =>
  bytes < 1e3 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
export const span = (seconds) => (seconds >= 120 ? `${+(seconds / 60).toFixed(1)} minutes` : `${+seconds.toFixed(1)} seconds`);
