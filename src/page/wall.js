// The page on a wall, where nobody scrolls: long lists scroll on by themselves, the conversation follows the newest
// again, and the picture moves a little, so that it does not burn in.

import { findAll } from './rows.js';

const STEP_MS = 15_000;
const CALM_MS = 30_000; // after somebody has touched it

export function hangOnWall(talk) {
  let touched = -CALM_MS;
  onwheel = onmousemove = () => (touched = performance.now());
  setInterval(() => {
    const hour = Math.floor(Date.now() / 3_600_000);
    // Up and left, where nothing can be scrolled to.
    document.body.style.translate = `-${(hour + 1) & 2}px -${hour & 2}px`;
    if (performance.now() - touched < CALM_MS) return;
    if (!talk.follows) talk.toNewest();
    for (const scroller of findAll('.scroll[role=region]')) {
      const { scrollTop, scrollHeight, clientHeight } = scroller;
      scroller.scrollTop = scrollTop + clientHeight >= scrollHeight - 1 ? 0 : scrollTop + 0.9 * clientHeight;
    }
  }, STEP_MS);
}
