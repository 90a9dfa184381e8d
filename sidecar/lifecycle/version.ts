import description from '../../package.json' with { type: 'json' };

/** The version of this Holdline, as in package.json. */
export const version: string = description.version;
