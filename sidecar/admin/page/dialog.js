// Questions before something is done, and what became of it.
import { element, printable } from './element.js';

const find = (selector) => document.querySelector(selector);

/** Asks; resolves with true for yes. Escape is no. */
export function confirmed(question, detail, yes) {
  const dialog = find('#confirm');
  dialog.querySelector('h2').textContent = printable(question);
  dialog.querySelector('p').textContent = printable(detail);
  dialog.querySelector('[value=yes]').textContent = yes;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

let fading;

/** Says for a while that something was done, or why not. */
export function say(text, isBad = false) {
  clearTimeout(fading);
  const place = find('#done');
  place.replaceChildren(element('span', text, { class: isBad ? 'bad' : '' }));
  fading = setTimeout(() => place.replaceChildren(), isBad ? 15_000 : 6_000);
}

/** Who clicked is told what went wrong. @param work a promise that nobody else waits for */
export function doing(work) {
  work.catch((error) => say(error.message, true));
}
