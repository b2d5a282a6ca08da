"""``vertexai-upgrade``: a project follows the template.

``command`` renders the template's old and new version, and lets Git merge what is the user's. ``platform`` replaces the
folder that is the template's. ``from_0_1`` first moves a project of version 0.1, which has no such folder.
"""
