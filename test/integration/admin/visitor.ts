import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import { patience } from '../../support/patience.ts';

/** Somebody who looks at the page of an admin listener, and notices what a page must never do. */
export class Visitor implements AsyncDisposable {
  readonly page: Page;
  readonly #url: string;
  /** Errors of scripts, what the content security policy refused, and requests to elsewhere. */
  readonly #faults: string[] = [];

  private constructor(page: Page, url: string) {
    this.page = page;
    this.#url = url;
    page.setDefaultTimeout(20_000 * patience());
    page.on('pageerror', (error) => this.#faults.push(String(error)));
    page.on('console', (message) => {
      if (/Content Security Policy|Uncaught/.test(message.text())) this.#faults.push(message.text());
    });
    page.on('dialog', (dialog) => {
      this.#faults.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss().catch((error: unknown) => this.#faults.push(String(error)));
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) this.#faults.push(`a request to ${request.url()}`);
    });
  }

  /** @param url of the admin listener */
  static async of(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visitor> {
    const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...options });
    return new Visitor(await context.newPage(), url);
  }

  /** Goes to a view, such as `/calls`. */
  async visit(view: string): Promise<void> {
    await this.page.goto(`${this.#url}/#${view}`);
  }

  /** Looks again at once, as when the window comes to the front. */
  async lookAgain(): Promise<void> {
    await this.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
  }

  /** Resolves when this is to be seen. */
  async sees(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor();
  }

  /** The row of a table with this in it. */
  row(text: string): Locator {
    return this.page.locator('tbody tr').filter({ hasText: text });
  }

  async click(name: string, within: Locator | Page = this.page): Promise<void> {
    await within.getByRole('button', { name, exact: true }).click();
  }

  /** Answers the question that is asked, which must say this. */
  async answer(answer: string, question: RegExp): Promise<void> {
    const dialog = this.page.getByRole('dialog');
    await dialog.waitFor();
    expect(await dialog.innerText()).toMatch(question);
    await this.click(answer, dialog);
    await dialog.waitFor({ state: 'hidden' });
  }

  /** Leaves. @throws when the page did what it must not */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close();
    expect(this.#faults).toEqual([]);
  }
}
